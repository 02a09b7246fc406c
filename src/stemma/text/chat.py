"""Chat templates: messages to text, in a sandbox, because a template comes with a model that a stranger made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Never

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stemma.errors import Fault, TokenizerError

Message = Mapping[str, Any]


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; in rendering it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as an instance attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> Never:
    raise TemplateError(message)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=16)
def _compile(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension]
    )
    # jinja2's own `tojson` escapes HTML, which no model was trained on.
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def render_chat(
    template: str,
    messages: Sequence[Message],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    tokens: Mapping[str, str] | None = None,
) -> str:
    """Write a conversation as the text that a chat model was trained on.

    Args:
        template: in Jinja, as Hugging Face's `chat_template`.
        messages: each with a `role` and mostly a `content`.
        tools: JSON schemas of the functions that the model may call.
        add_generation_prompt: whether to open the assistant's answer.
        tokens: further names that the template may use, such as `bos_token`.

    Raises:
        TokenizerError: a message without a role or content, or a template that fails.

    >>> template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    >>> render_chat(template, [{"role": "user", "content": "Hi"}])
    '<user>Hi'
    """
    faults = [fault for place, message in enumerate(messages) for fault in _check(place, message)]
    if faults:
        raise TokenizerError("chat", faults)
    try:
        return _compile(template).render(
            messages=list(messages),
            tools=None if tools is None else list(tools),
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **(tokens or {}),
        )
    # A template is a program: beside jinja2's own errors it may add a number to a string or look up what is not there.
    except (
        TemplateError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        fault = Fault("chat_template", str(error), "stops the template", "send the roles and fields that it expects")
        raise TokenizerError("chat", fault) from error


def _check(place: int, message: object) -> list[Fault]:
    field = f"messages[{place}]"
    if not isinstance(message, Mapping):
        return [Fault(field, message, "must be a mapping", "write {'role': 'user', 'content': ...}")]
    faults = []
    if not isinstance(message.get("role"), str):
        faults.append(Fault(f"{field}.role", message.get("role"), "must be a string", "name who speaks, such as user"))
    if "content" not in message and "tool_calls" not in message:
        faults.append(Fault(f"{field}.content", None, "is missing", "give what is said, or tool_calls"))
    return faults
