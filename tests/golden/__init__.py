"""Runs that were recorded once and are replayed for ever: whatever changes, the code decides over them as it did.

    histories/<name>.json      (or .yaml) what `flowy export` writes: objects as they were stored, code and history
    histories/<name>.decision  the answer of one decision over all of it, and the arguments of all calls: never edited
    histories/<name>.story     what `flowy replay` tells of it: FLOWY_GOLDEN=write writes it anew, where words have changed

`make golden` records what isn't there yet, and nothing that is: the runs of `runs.py`, and decision and story of any export
that somebody has put beside them, such as a run of a live cluster: `flowy export NAME > histories/NAME.yaml`.
"""
