"""Flags that are declared once: the same name, environment variable and help wherever they are taken."""

import re

import pytest
import typer
from typer.main import get_command

from bench.cli.main import app

ONCE = {
    "device",
    "results",
    "data",
    "weights",
    "offline",
    "rebuild",
    "readers",
    "workers",
    "train",
    "seed",
    "profile",
    "key",
}


def commands(group, name=""):
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name}{word} ")
        else:
            yield f"{name}{word}", command


COMMANDS = dict(commands(get_command(app)))


def test_an_environment_variable_means_the_same_flag_everywhere():
    seen = {}
    for name, command in COMMANDS.items():
        for option in command.params:
            if getattr(option, "envvar", None):
                seen.setdefault(str(option.envvar), {}).setdefault(option.name, []).append(name)
    assert not {env: flags for env, flags in seen.items() if len(flags) > 1}
    images = {env: next(iter(flags.values())) for env, flags in seen.items() if env.endswith("_IMAGES")}
    assert images == {
        "BENCH_AUDIT_IMAGES": ["audit"],
        "BENCH_DOCTOR_IMAGES": ["doctor"],
        "BENCH_PERF_IMAGES": ["perf"],
        "BENCH_PLAN_IMAGES": ["plan"],
    }


@pytest.mark.parametrize("flag", sorted(ONCE))
def test_a_shared_flag_has_one_help_text(flag):
    own = {"results list", "results gallery"}  # a filter of the list, the draw of the pictures
    texts = {
        option.help for name, command in COMMANDS.items() if name not in own for option in command.params
        if option.name == flag
    }  # fmt: skip
    assert len(texts) == 1


def test_run_shows_three_examples_and_bare_bench_a_list_of_commands(cli):
    done = cli("run", "--help")
    assert done.code == 0
    examples = [line for line in done.out.splitlines() if line.startswith("    bench run ")]
    assert len(examples) == 3
    done = cli()
    assert done.code == 2
    lines = done.err.splitlines()
    assert lines[0].startswith("Usage: bench")
    for name in ("run", "ladder", "results"):
        assert [line for line in lines if re.match(rf"  {name} +\S", line)]


def test_every_example_of_the_help_is_a_command_that_parses():
    root = get_command(app)
    for name, command in COMMANDS.items():
        for line in re.findall(r"^  (bench .*)$", command.help or "", flags=re.M):
            words = line.split()[1:]
            assert " ".join(words).startswith(name), line
            rest = words[len(name.split()) :]
            command.make_context(name, rest, parent=typer.Context(root)).close()
