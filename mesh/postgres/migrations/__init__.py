"""Schema migrations: numbered SQL files of an owner, each applied once. How to write and run them: docs/migrations.md.

The SQL files in this folder are those of the kit's own tables, which are in the database of every service.
"""
