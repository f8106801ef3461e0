"""The cookbook: its blocks are one program, and each recipe has one."""

import re

from tests.docs.pages import blocks, page

PAGE = "cookbook.md"


def test_the_blocks_run_from_top_to_bottom() -> None:
    scope: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE, "python"):
        # With the page's own line numbers, so that a failed claim is found at once.
        code = compile("\n" * (block.line - 1) + block.text, PAGE, "exec")
        exec(code, scope)


def test_each_recipe_is_tested_where_it_stands() -> None:
    recipes = re.split(r"^## ", page(PAGE), flags=re.MULTILINE)[1:]
    untested = [recipe.partition("\n")[0] for recipe in recipes if "assert " not in recipe and "same_in" not in recipe]
    assert untested == ["Large data", "What there isn't"]
