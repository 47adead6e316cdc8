"""Where in a shell command the value of a placeholder can be quoted, so that it stays one word whatever it holds.

A value is quoted as a word of its own. That is right where the shell reads words: not inside other quotes, nor in a
comment or a here-document, nor where what stands before it changes its meaning. Such commands are refused.

Reference: POSIX.1-2017, Shell Command Language, 2.2 (quoting), 2.3 (tokens), 2.6.3 (command substitution).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import jinja2

from matloop.orchestrator.errors import ConfigError

VALUE, TAG = "\ue000", "\ue001"
"""Stand for a `{{…}}` and a `{%…%}` in the text that is read; the latter gives nothing of its own."""

SHELLS = {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"}
REMEDY = (
    'write it bare, as in --name={{x}}, or hand it over as a variable: `environment: {X: "{{x}}"}`, and "$X" in the '
    "command"
)

_DELIMITER = re.compile(r"<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n]*\"|\\[^\n]|[^\s;&|<>()'\"\\])+)")
_AFTER = {"\\": "a backslash", "$": "a $", "~": "a ~"}
_SHELL = rf"(?<![\w.-])(?:{'|'.join(sorted(SHELLS))})['\"]?"
_CODE = re.compile(
    r"(?:^|[;&|(\n]|\b(?:then|do|else|if|while)\s)\s*(?:\w+=\S*\s+|(?:command|builtin|exec)\s+)*"
    rf"[\\'\"]?(?:eval|trap|source|\.)['\"]?\s[^;&|\n]*{VALUE}"
    rf"|{_SHELL}(?:\s+(?:[-+]o\s+\w+|[-+]\S+))*?\s+-\w*c(?:\s+-\S+)*\s+[^\s;&|]*{VALUE}"
    rf"|{_SHELL}(?:\s+-\S*)*\s*<<<\s*[^\s;&|]*{VALUE}"
    rf"|{VALUE}[^;&\n]*\|\s*(?:\S*/)?[\\'\"]?{_SHELL}(?:\s+-\S*)*\s*(?:$|[;&|\n)>])"
)
"""What a shell would run of a value that is quoted soundly, since the command asks for it."""


def check_shell(command: str, environment: jinja2.Environment) -> None:
    """Raise ConfigError if a value could be anything but part of one word, in whatever branch of the template.

    Args:
        command: a template.
        environment: of the template.
    """
    text, names, tags = "", [""], [""]
    inside: list[str] | None = None
    for _, kind, part in environment.lex(command):
        if kind in ("variable_begin", "block_begin"):
            inside = names if kind == "variable_begin" else tags
            inside.append("")
            text += VALUE if kind == "variable_begin" else TAG
        elif kind in ("variable_end", "block_end"):
            inside = None
        elif kind == "data":
            text += part.replace(VALUE, " ").replace(TAG, " ")
        elif inside is not None:
            inside[-1] += part
    if VALUE in text:
        _Command(text, names[1:], tags[1:]).read()


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise ConfigError if a shell among the arguments is to run a text that a value is part of."""
    shell = False
    for before, argument in zip(("", *arguments), arguments, strict=False):
        if shell and re.fullmatch(r"-\w*c", before) and "{{" in argument:
            raise ConfigError(
                f"run: {before} makes a command of {argument[:80]!r}, and with it of the values in it; hand them over "
                'as arguments, as in [sh, -c, \'prog "$1" > out\', sh, "{{x}}"], or take a string with `shell: true`',
                at="run",
            )
        shell = PurePath(argument).name in SHELLS or (shell and argument.startswith("-"))


class _Command:
    """Reads a command as the shell does, as far as quotes go."""

    def __init__(self, text: str, names: Sequence[str], tags: Sequence[str]) -> None:
        self._text = text
        self._names, self._tags = iter(names), iter(tags)
        self._at = 0
        self._inside: list[str] = []  # what is open: quotes and the like
        self._blocks: list[tuple[str, ...]] = []  # what was open where blocks of the template began
        self._ends: list[tuple[str, bool]] = []  # of here-documents that the next line begins

    def read(self) -> None:
        """All of it."""
        self._words("")
        if _CODE.search(self._text.replace("\\\n", "")):
            raise self._refused("what the shell is to run as a command")

    def _words(self, end: str) -> None:
        """Up to the bracket that ends it, or to the end."""
        depth, began = 0, self._at
        while self._at < len(self._text):
            c = self._next()
            if c == end and depth == 0:
                if end and re.search(r"\bcase\b|<<", self._text[began : self._at]) and self._text[began] != "(":
                    raise self._refused("a command with `case` or << inside $(…)", always=True)
                return
            depth += (c == "(") - (c == ")") if end == ")" else 0
            self._word(c)

    def _word(self, c: str) -> None:
        if c == "'":
            self._quoted("single quotes", "'")
        elif c in '"`$':
            self._expanded(c)
        elif c == "#" and self._starts_word():
            self._until("a comment", "\n")
            self._at -= self._at < len(self._text)  # the end of the line may begin a here-document
        elif c == "<" and not self._inside and self._text[self._at : self._at + 1] == "<":
            self._here_document()
        elif c == "\n" and self._ends:
            self._documents()

    def _expanded(self, c: str) -> None:
        """What begins with a double quote, a backtick or a dollar."""
        following = self._text[self._at : self._at + 1]
        if c == '"':
            self._quoted("double quotes", '"')
        elif c == "`":
            self._quoted("backticks", "`")
        elif following == "'":
            raise self._refused("a command with $'…', which shells read differently,", always=True)
        elif following in ("(", "{"):
            self._at += 1
            self._inside.append("$(…)" if following == "(" else "${…}")
            self._words(")" if following == "(" else "}")
            self._inside.pop()

    def _quoted(self, where: str, end: str) -> None:
        """Up to the quote that ends it."""
        self._inside.append(where)
        while self._at < len(self._text):
            c = self._next(escapes=end != "'")
            if c == end:
                break
            if end == '"' and (c == "`" or (c == "$" and self._text[self._at : self._at + 1] in ("(", "{"))):
                self._expanded(c)
        self._inside.pop()

    def _until(self, where: str, end: str) -> None:
        self._inside.append(where)
        while self._at < len(self._text) and self._next(escapes=False) != end:
            pass
        self._inside.pop()

    def _here_document(self) -> None:
        """Note its last line; <<< is a word."""
        if self._text.startswith("<<", self._at):
            self._at += 2
            return
        found = _DELIMITER.match(self._text, self._at)
        if found is None or VALUE in found[2] or TAG in found[2]:
            raise self._refused("a command whose here-document has no plain end", always=True)
        self._ends.append((re.sub(r"['\"\\]", "", found[2]), bool(found[1])))
        self._at = found.end()

    def _documents(self) -> None:
        self._inside.append("a here-document")
        for end, tabs in self._ends:
            line = ""
            while self._at < len(self._text):
                c = self._next(escapes=False)
                if c != "\n":
                    line += c
                    continue
                if (line.lstrip("\t") if tabs else line) == end:
                    break
                line = ""
        self._ends.clear()
        self._inside.pop()

    def _starts_word(self) -> bool:
        before = self._text[: self._at - 1]
        if before.endswith(TAG):
            raise self._refused("a command with # right after {%…%}", always=True)
        return not before or before[-1] in " \t\n;&|()"

    def _next(self, *, escapes: bool = True) -> str:
        """The next character; values and tags are looked at, and what is escaped counts as a letter."""
        c = self._text[self._at]
        self._at += 1
        if c == "\\" and escapes and self._at < len(self._text):
            c = "a" if self._text[self._at] not in (VALUE, TAG) else c
            self._at += c == "a"
        elif c == VALUE:
            self._value(next(self._names).strip())
        elif c == TAG:
            self._tag(next(self._tags).split())
        return c

    def _value(self, name: str) -> None:
        before = self._text[self._at - 2] if self._at > 1 else ""
        if self._inside:
            raise self._refused(self._inside[-1], name)
        if before in _AFTER and not self._escaped(self._at - 2):
            raise self._refused(f"what {_AFTER[before]} begins", name)

    def _escaped(self, at: int) -> bool:
        backslashes = len(self._text[:at]) - len(self._text[:at].rstrip("\\"))
        return backslashes % 2 == 1

    def _tag(self, words: Sequence[str]) -> None:
        """A block of the template has to end in the quotes in which it begins, so that all its branches do."""
        name, here = words[0] if words else "", tuple(self._inside)
        if name.startswith("end") or name in ("else", "elif"):
            if self._blocks and self._blocks[-1] != here:
                raise self._refused("quotes that not every branch of the template closes", always=True)
            if name.startswith("end") and self._blocks:
                self._blocks.pop()
        elif name in ("if", "for", "with", "filter", "macro", "call", "autoescape") or (
            name == "set" and not any("=" in word for word in words)
        ):
            self._blocks.append(here)

    def _refused(self, where: str, name: str = "…", *, always: bool = False) -> ConfigError:
        shown = f"{{{{{name}}}}}"
        if always:
            text = f"run: {where} cannot be told apart well enough for its values to be quoted; {REMEDY}"
        else:
            text = f"run: {shown} stands inside {where}, where its value cannot be quoted; {REMEDY}"
        return ConfigError(text, at="run")
