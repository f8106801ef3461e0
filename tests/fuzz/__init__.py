"""Everything that comes from outside, made up: by chance, by the schema, and by what has once broken something.

    strategies (texts.py, schema.py, …) ──▶ case: JSON ──▶ a target's `check` ──▶ nothing, or an error
                                              ▲
    corpus/<target>/<name>.json ──────────────┘   each fault that was found, made as small as it gets

`make test` replays the corpus and tries some hundred new cases; `make fuzz MINUTES=5` goes on until the time is over, with
other ones each time. A case that breaks something is made smaller and written where the message says: once it is mended,
it is kept in the corpus under a name that tells what was wrong.
"""
