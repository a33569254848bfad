"""`bokbok.cli._handler`: `--handler MODULE:FUNCTION`."""

import os
import sys

import click
import pytest

from bokbok.cli._handler import load_handler


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module into the current folder, under a name that no other test uses."""
    monkeypatch.chdir(tmp_path)
    names = []

    def write(text):
        name = f"handlers_{tmp_path.name}_{len(names)}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(spec):
    with pytest.raises(click.BadParameter) as raised:
        load_handler(spec)
    return raised.value.format_message()


def test_a_function_is_found_in_the_current_folder(module):
    handler = load_handler(module("def answer(connection, message):\n    return [message]") + ":answer")
    assert handler(None, 1) == [1]
    assert sys.path[0] == os.getcwd()


def test_the_current_folder_is_not_put_on_the_path_twice(module):
    name = module("def answer(connection, message): pass")
    for _ in range(2):
        load_handler(f"{name}:answer")
    assert sys.path.count(os.getcwd()) == 1


def test_a_function_may_be_in_a_package_or_an_attribute_of_an_object(tmp_path, module):
    name = module("class App:\n    def answer(self, connection, message):\n        return 5\napp = App()")
    assert load_handler(f"{name}:app.answer")(None, None) == 5
    (tmp_path / f"{name}_package").mkdir()
    (tmp_path / f"{name}_package" / "inner.py").write_text("def f(c, m):\n    return 6")
    assert load_handler(f"{name}_package.inner:f")(None, None) == 6


def test_an_object_that_can_be_called_will_do(module):
    name = module("class Answer:\n    def __call__(self, connection, message):\n        return 7\nanswer = Answer()")
    assert load_handler(f"{name}:answer")(None, None) == 7


@pytest.mark.parametrize(
    "spec", ["", "module", "module:", ":function", "a b:c", "module:f()", "./module.py:f", "a:b:c"]
)
def test_what_is_not_of_that_form_is_refused(spec):
    assert "expected MODULE:FUNCTION, such as mypackage.handlers:answer" in refusal(spec)


def test_a_module_that_is_not_there_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"module 'no_such_module' was not found in {tmp_path}" in refusal("no_such_module:f")
    assert "module 'no_such_package' was not found" in refusal("no_such_package.inner:f")
    assert "module 'os.inner' was not found" in refusal("os.inner:f")


def test_a_module_that_imports_what_is_not_there_is_told_apart(module):
    name = module("import no_such_module_either")
    message = refusal(f"{name}:f")
    assert f"importing '{name}' failed: ModuleNotFoundError: No module named 'no_such_module_either'" in message
    assert f"{name}.py, line 1)" in message


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("x = 1\nx.y", "AttributeError: 'int' object has no attribute 'y'", 2),
        ("def f(:\n  pass", "SyntaxError: ", 1),
        ("import sys\nsys.exit('no')", "SystemExit: no", 2),
        ("raise ImportError", "ImportError", 1),
        ("raise ModuleNotFoundError", "ModuleNotFoundError", 1),
    ],
)
def test_a_module_whose_import_fails_is_refused_with_the_reason_and_the_line(module, text, why, line):
    name = module(text)
    message = refusal(f"{name}:f")
    assert f"importing '{name}' failed: {why}" in message
    assert message.endswith(f"{name}.py, line {line})")


def test_a_function_that_is_not_there_is_refused_by_name(module):
    name = module("x = 5")
    assert f"'{name}' does not have 'f'" in refusal(f"{name}:f")
    assert f"'{name}' does not have 'x.y.z'" in refusal(f"{name}:x.y.z")


def test_what_cannot_be_called_is_refused(module):
    name = module("x = 5")
    assert "is a int; expected a function(connection, message)" in refusal(f"{name}:x")


@pytest.mark.parametrize(
    "text",
    [
        "async def f(connection, message): pass",
        "class F:\n    async def __call__(self, connection, message): pass\nf = F()",
        "import functools\nasync def g(a, connection, message): pass\nf = functools.partial(g, 1)",
    ],
)
def test_a_coroutine_function_is_refused_and_pointed_to_where_it_can_be_served(module, text):
    assert "coroutine function" in refusal(module(text) + ":f")
    assert "bokbok.asyncio.start_server" in refusal(module(text) + ":f")


def test_a_current_folder_that_has_been_removed_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert load_handler("operator:eq") is not None
    assert "module 'no_such_module' was not found" in refusal("no_such_module:f")
