import pytest

from flowy.wire.keys import MAX_NAME, check_names, number_of, task_of

BAD_NAMES = ["123", "for", "abc!123", "", "a-b", "é", "a b", "a" * (MAX_NAME + 1), "a\n"]
BAD_KEYS = ["task", "task-", "-1", "task-01", "task-x", "1a-0", "task-1 ", "task-0\n", "task--1", "task-1234567890"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no task name"):
        check_names([name])


def test_a_repeated_name_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        check_names(["task", "task"])


def test_names_come_back_in_their_order() -> None:
    assert check_names(iter(["b", "_a", "C3", "a" * MAX_NAME])) == ["b", "_a", "C3", "a" * MAX_NAME]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        task_of(key)


def test_parts_of_a_key() -> None:
    assert (task_of("a_b-12"), number_of("a_b-12")) == ("a_b", 12)
