"""Read YAML whose size in memory is bounded by the text's."""

from __future__ import annotations

from typing import Any

import yaml

#: Maximum depth of nested lists and mappings.
DEEPEST = 40
#: Maximum number of values, each counted as often as an alias repeats it; a text without aliases
#: may have more.
MOST = 200_000
#: Maximum number of digits of a whole number.
DIGITS = 40
#: Maximum number of characters of a message.
LONGEST = 200
#: Safe loader by libyaml; by PyYAML itself where it was built without.
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """The text is not YAML, or is refused; the message gives the line and the reason."""


class _Loader(yaml.SafeLoader):
    """Loader that refuses keys that occur twice, deep nesting, and aliases that multiply values."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._size = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        before, self._depth = self._size, self._depth + 1
        if self._depth > DEEPEST:
            raise _refusal("lists and mappings lie too deep in one another", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        # An alias gives the node that its anchor gave, with all values in it.
        if alias and id(node) not in self._sizes:
            raise _refusal("an alias stands inside that which it repeats", mark)
        self._size += self._sizes[id(node)] if alias else 1
        if alias and self._size > MOST:
            raise _refusal("its aliases repeat too many values", mark)
        self._sizes[id(node)] = self._size - before
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _refusal(f"key '{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > DIGITS:
            raise _refusal("a number has too many digits", node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _refusal(text: str, mark: yaml.Mark) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, mark)


def read_yaml(text: str) -> Any:
    """Return the plain data of a YAML text.

    Raises:
        YamlError: the text is not YAML; a key occurs twice in a mapping; lists and mappings are
            nested deeper than ``DEEPEST``; aliases make more than ``MOST`` values; or a number has
            more than ``DIGITS`` digits.
    """
    try:
        return _Loader(text).get_single_data()
    except yaml.constructor.ConstructorError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise YamlError(f"{line}{error.problem}"[:LONGEST]) from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise YamlError(f"not a YAML file{line}") from None


def own_yaml(text: str) -> Any:
    """Return the plain data of a YAML file of this package, which needs none of these checks.

    libyaml, where PyYAML was built with it, reads it ten times as fast.
    """
    return _Fast(text).get_single_data()
