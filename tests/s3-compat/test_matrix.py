"""The table of clients says what the tests found, and notices when it no longer does."""

from matrix import Matrix, differences, parse


def found(**outcomes):
    """Two clients, one operation for all, one of one client; `outcomes` by client."""
    matrix = Matrix()
    matrix.everyday = ["put"]
    for client in "one", "two":
        cell = matrix.cell(client, "put", True)
        cell.outcomes, cell.version = [outcomes.get(client, "passed")], f"{client} 1.0"
    own = matrix.cell("two", "mount", False)
    own.lacks = "it has none"
    return matrix


def test_what_is_written_is_read_back():
    assert parse(found().render()) == {("one", "put"): "yes", ("two", "put"): "yes", ("two", "mount"): "-"}


def test_the_same_is_no_difference_and_versions_are_none():
    document = found().render()
    assert differences(found(), document) == []
    assert differences(found(), document.replace("one 1.0", "one 2.0")) == []


def test_a_failure_a_new_operation_and_a_lost_client_are_differences():
    document = found().render()
    assert "+ | put | FAILED | yes |" in differences(found(one="failed"), document)
    more = found()
    more.cell("one", "append", False).outcomes = ["passed"]
    assert differences(more, document) == ["+ | append | one | yes |"]
    assert differences(found(), more.render()) == ["- | append | one | yes |"]
    assert differences(found(), "")


def test_a_client_that_is_not_installed_keeps_its_words():
    assert differences(found(one="skipped"), found().render()) == []
    assert "not run" in found(one="skipped").render()


def test_a_limit_is_a_word_and_a_reason():
    matrix = found()
    matrix.cells["one", "put"].limit = "it cannot"
    assert "| put | limit | yes |" in matrix.render() and "- one: put: it cannot" in matrix.render()
