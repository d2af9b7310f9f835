"""A plug-in's class is held to its base when it is made: one line that names the mistake, instead of a default."""

from typing import ClassVar

import pytest
from pydantic import Field

from bench.core.budget import Norm
from bench.core.errors import InputError
from bench.core.nouns import Access
from bench.core.plugins import BASES, Attack, Dataset, Defense, Knowledge, Plugin, Threat, Transform
from bench.core.plugins.contract import missing
from bench.core.plugins.plugin import adapted

KNOWS = frozenset({Knowledge.PRETRAINED})


def source(self, view):
    return view.base()


MISTAKES = {
    "a near name": (
        Threat,
        {"acces": "labels"},
        "threat Wrong sets 'acces', which no threat has; did you mean access",
    ),
    "a near method": (Threat, {"sourc": source}, "threat Wrong sets 'sourc', .* did you mean source?"),
    "a helper": (Attack, {"helper": source}, "attack Wrong sets 'helper', which no attack has; .*underscore: _helper"),
    "a text for an Access": (Threat, {"access": "labels"}, "sets access to 'labels'; expected one of Access.GRADIENTS"),
    "no tier": (Threat, {"tier": "T9"}, "sets tier to 'T9'; expected one of T0, T1"),
    "no knowledge": (Threat, {"knows": frozenset({"key"})}, "sets knows to .*; expected a frozenset of Knowledge"),
    "a set that can change": (Threat, {"knows": set(KNOWS)}, "expected a frozenset of Knowledge"),
    "no number": (Threat, {"queries": "many"}, r"sets queries to 'many'; expected int \| None"),
    "no norm": (Attack, {"norms": frozenset({"linf"})}, "expected a frozenset of Norm"),
    "no method": (Attack, {"perturb": 3}, r"sets perturb to 3; expected a method .* perturb\(adversary, batch\)"),
    "too few arguments": (Threat, {"source": lambda self: None}, r"cannot be called as source\(view\)"),
    "another name": (Transform, {"bind": lambda self, key, block: None}, r"cannot be called as bind\(key, block_size="),
    "what is derived": (Defense, {"leaks": True}, "sets 'leaks', which follows from its methods"),
    "a wrong size": (Dataset, {"sizes": {"test": "many"}}, "data set Wrong sets sizes to"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_the_base_does_not_declare_is_refused_in_one_line(case):
    base, names, said = MISTAKES[case]
    with pytest.raises(InputError, match=said) as error:
        type(base)("Wrong", (base,), {"__module__": __name__, **names})
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_mistyped_annotated_attribute_is_refused_too():
    with pytest.raises(InputError, match="sets 'querys', which no threat has; did you mean queries"):

        class Wrong(Threat):
            querys: ClassVar[int] = 100


def test_an_option_may_not_hide_an_attribute():
    with pytest.raises(InputError, match="makes an option of 'access', which is not an option of a threat"):

        class Wrong(Threat):
            access: str = "labels"


def test_what_comes_from_a_mixin_is_held_to_the_base_too():
    class Mixin:
        acces = "labels"

    with pytest.raises(InputError, match="did you mean access"):

        class Wrong(Mixin, Threat):
            pass


def test_queries_may_be_an_attribute_or_an_option():
    class Fixed(Threat):
        tier, knows, source = "T2", KNOWS, source
        queries = 7

    class Chosen(Threat):
        tier, knows, source = "T2", KNOWS, source
        queries: int = Field(9, ge=1)

    class Below(Chosen):
        more: int = 1

    class Required(Threat):
        tier, knows, source = "T2", KNOWS, source
        queries: int

    assert Fixed().queries == 7
    assert [Chosen().queries, Chosen(queries=3).queries, Below().queries] == [9, 3, 9]
    assert Chosen().query_budget is None
    assert Below().options() == {"queries": 9, "more": 1}
    assert Required.model_fields["queries"].is_required()


def test_a_class_between_may_declare_more():
    class Between(Attack, adds=("stream",)):
        norms = frozenset(Norm)

    class Whole(Between):
        def stream(self):
            return []

        def perturb(self, adversary, batch):
            return self._same(batch)

        def _same(self, batch):
            return batch.images

    assert missing(Between) == ["perturb"]
    assert missing(Whole) == []
    with pytest.raises(InputError, match="did you mean stream"):

        class Wrong(Between):
            def streem(self):
                return []


@pytest.mark.parametrize(
    ("kind", "required"),
    {
        "transforms": ["bind"],
        "datasets": ["split"],
        "defenses": ["load", "recipe", "train"],
        "threats": ["knows", "source", "tier"],
        "attacks": ["norms", "perturb"],
        "backends": ["map"],
    }.items(),
)
def test_every_base_says_what_it_requires_and_gives_the_rest(kind, required):
    assert missing(type(BASES[kind])("Empty", (BASES[kind],), {"__module__": __name__})) == required


def test_defaults_are_those_of_the_cautious():
    class Minimal(Threat):
        tier, knows, source = "T0", KNOWS, source

    class Moves(Attack):
        norms = frozenset(Norm)

        def perturb(self, adversary, batch):
            return batch.images

    threat, attack = Minimal(), Moves()
    assert (threat.access, threat.attack, threat.queries, threat.cost) == (Access.GRADIENTS, "autoattack", None, "")
    assert (attack.per_image, attack.needs, attack.for_transfer) == (False, Access.GRADIENTS, False)
    assert sorted(attack.precisions) == ["fp32"]
    assert attack.check(None) is None
    assert attack.calls(10, None) is None


def bare(**more):
    """A defense that inherits from Plugin alone, as plug-ins did before the bases."""

    class Old(Plugin):
        """An old plug-in."""

        keyed: ClassVar[bool] = False
        how: str = "fine"

        def check(self, profile) -> None: ...
        def recipe(self, profile):
            return {"how": self.how}

        def train(self, kit, folder) -> None: ...
        def load(self, kit, folder): ...
        def helper(self):
            return 1

    return type("Older", (Old,), {"__module__": __name__, **more}) if more else Old


def test_a_plug_in_that_inherits_from_plugin_alone_gets_the_defaults_of_its_kind():
    plugin = adapted(bare(), Defense)(how="odd")
    assert isinstance(plugin, Defense)
    assert plugin.options() == {"how": "odd"}
    assert (plugin.keyed, plugin.ready, plugin.helper()) == (False, False, 1)


@pytest.mark.parametrize(("more", "message"), [
    ({"redy": True, "__annotations__": {"redy": ClassVar[bool]}}, "sets 'redy', .* did you mean ready"),
    ({"trian": lambda self, kit, folder: None}, "sets 'trian', which no defense has; did you mean train"),
    ({"keyed": "yes", "__annotations__": {"keyed": ClassVar[str]}}, "sets keyed to 'yes'; expected bool"),
])  # fmt: skip
def test_its_slips_are_refused_all_the_same(more, message):
    with pytest.raises(InputError, match=message):
        adapted(bare(**more), Defense)
