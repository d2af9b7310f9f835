import pytest

from bench.core.errors import InputError, UnknownNameError
from bench.core.registry import registry


def test_a_mistyped_name_answers_with_near_and_known_names():
    with pytest.raises(UnknownNameError, match="did you mean key-lora") as error:
        registry("defenses").load("key-lorra")
    assert "plain" in str(error.value)
    assert error.value.exit_code == 2


def test_options_are_checked_by_name_and_value():
    with pytest.raises(InputError, match=r"no option 'step'.*did you mean steps"):
        registry("attacks").make("pgd", {"step": 3})
    with pytest.raises(InputError, match=r"steps.*got '0'"):
        registry("attacks").make("pgd", {"steps": 0})


@pytest.mark.usefixtures("outsiders")
def test_a_plugin_that_does_not_import_is_reported_and_harms_no_other():
    listed = {entry.name: entry for entry in registry("attacks").describe()}
    assert "does not import" in (listed["broken-import"].error or "")
    assert "outsider_missing" in (listed["missing-module"].error or "")
    assert listed["pgd"].error is None
    assert listed["raising"].summary == "Always raises."
    with pytest.raises(InputError, match="cannot be imported"):
        registry("attacks").load("broken-import")
