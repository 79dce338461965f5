"""Runs sagas: declared as data, recorded in a log, run by whichever replica owns them.

Read in this order: `blocks` and `saga` (the words), `log` and `outcome` (what is next), `engine` (acts on it), `store`
(who may write), `lease` and `replica` (who runs what), `api` (the door). `docs/orchestrator.md` tells why it is right.
"""
