"""Objects named as ``package.module:name``, and factories called with what they ask for."""

import fractions

import pytest

from hdsens.errors import InputError
from hdsens.tasks.importing import call_factory, import_factory, import_object


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder on sys.path; what a test writes there can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def message(name):
    with pytest.raises(InputError) as caught:
        import_object(name, "model")
    return str(caught.value)


def test_an_object_of_a_package_module_is_imported():
    assert import_object("fractions:Fraction") is fractions.Fraction
    assert import_object("os.path:join")("a", "b") == __import__("os").path.join("a", "b")


@pytest.mark.parametrize(
    "name", ["fractions", "fractions:", ":Fraction", "a..b:c", "a:b:c", "a:b c"]
)
def test_a_malformed_path_says_the_form(name):
    assert message(name) == f"model {name!r} must have the form 'package.module:name'"


@pytest.mark.parametrize("module", ["nowhere_module", "nowhere.deeper.still", "json.nowhere"])
def test_a_missing_module_is_said_to_be_missing(module):
    assert message(f"{module}:make") == (
        f"model '{module}:make' must name a module that can be imported (got '{module}'); "
        "install it, or put its folder on PYTHONPATH"
    )


def test_a_missing_attribute_is_named():
    assert message("fractions:Nothing") == (
        "model 'fractions:Nothing' must name something that module 'fractions' has (got 'Nothing')"
    )


def test_an_import_missing_inside_the_module_is_not_taken_for_the_module(package):
    (package / "needs_more.py").write_text("import not_installed_here\n")
    assert message("needs_more:make") == (
        "model 'needs_more:make' must be importable; its module raised "
        "ModuleNotFoundError: No module named 'not_installed_here' (needs_more.py:1)"
    )


def test_an_error_inside_the_module_is_told_with_its_type_and_text(package):
    (package / "broken_at_import.py").write_text("raise ZeroDivisionError('a\\nb')\n")
    assert message("broken_at_import:make") == (
        "model 'broken_at_import:make' must be importable; its module raised ZeroDivisionError: "
        "a b (broken_at_import.py:1)"
    )


def test_a_factory_must_be_callable():
    with pytest.raises(InputError) as caught:
        import_factory("math:pi", "data set")
    assert str(caught.value) == ("data set 'math:pi' must be callable (got 3.141592653589793)")


def test_a_factory_gets_the_offered_arguments_that_it_names():
    def factory(n_classes, *, width=3, **rest):
        return n_classes, width, rest

    offered = {"n_classes": 10, "input_shape": (1, 8, 8)}
    assert call_factory(factory, {"width": 5}, offered) == (10, 5, {})


def test_a_setting_goes_before_an_offered_argument():
    assert call_factory(lambda n_classes: n_classes, {"n_classes": 2}, {"n_classes": 10}) == 2


def test_what_a_factory_raises_is_not_changed():
    def factory():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        call_factory(factory, {}, {})


def test_a_callable_without_a_signature_gets_its_settings_alone():
    assert call_factory(dict, {"a": 1}, {"n_classes": 10}) == {"a": 1}
