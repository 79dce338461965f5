"""Runs sagas: declared as data, recorded in a log, run by whichever replica owns them.

Read in this order: `saga` (the words), `log` (what is next), `engine` (acts on it), `store` (who may write),
`replica` (which sagas run here), `api` (the door).
"""
