"""An activity: the sum of its arguments. It knows nothing of Flowy but two file names in the environment."""

import json
import os
import sys
from pathlib import Path


def add(numbers: list[object]) -> int:
    """The sum of at least one integer. TypeError for anything else; `bool` is an `int` only to Python."""
    if not numbers:
        raise TypeError("add takes at least 1 argument")
    total = 0
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"add takes integers, got {json.dumps(number)}")
        total += number
    return total


def main() -> int:
    """Do the work once; the return value is the exit status."""
    arguments = json.loads(Path(os.environ["FLOWY_INPUT_FILE"]).read_text(encoding="utf-8"))["args"]
    result_file = Path(os.environ["FLOWY_RESULT_FILE"])
    try:
        total = add(arguments)
    except TypeError as error:
        # Trying again can't mend an argument: say so, whatever the task's retry policy is.
        failure = {"type": "BadArgument", "message": str(error), "retryable": False}
        result_file.write_text(json.dumps({"error": failure}), encoding="utf-8")
        print(error, file=sys.stderr)
        return 1
    result_file.write_text(json.dumps(total), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
