"""JSGF, the Java Speech Grammar Format 1.0 (W3C note of 5 June 2000): public rules become intents, the others rules.

Tags are left out, with a note. What has no end (`*`, `+`, rules that use themselves) and imports are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.phrases.importers import Draft, checked_name, escaped
from edgeseq.phrases.notation import MAX_DEPTH

_PIECES = re.compile(
    r"(?P<space>\s+|//[^\n]*|/\*.*?\*/)"
    r'|(?P<quoted>"(?:\\.|[^"\\])*")'
    r"|(?P<tag>\{(?:\\.|[^}\\])*\})"
    r"|(?P<rule><[^<>\s]*>)"
    r"|(?P<weight>/\s*[\d.]+(?:[eE][-+]?\d+)?\s*/)"
    r"|(?P<mark>[()\[\]|;=*+])"
    r"|(?P<word>[^\s()\[\]|;=*+<>{}/\"]+)"
    r"|(?P<stray>.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Piece:
    kind: str
    text: str
    place: Place


def read(text: str, name: str) -> Draft:
    """Read a grammar. Raises PhraseError that lists all faults, each with line and column."""
    return _Reader(text, name).read()


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self.pieces = list(_cut(_without_header(text)))
        self.next = 0
        self.public: dict[str, str] = {}
        self.rules: dict[str, str] = {}
        self.used: list[tuple[str, Place]] = []
        self.tagged: list[Place] = []

    def read(self) -> Draft:
        self._check_depth()
        while self.next < len(self.pieces):
            self._statement()
        for rule, place in self.used:
            if rule not in self.rules:
                self.faults.append(
                    Fault(place, f"no rule is called <{rule}>; wanted one of: {', '.join(self.rules) or 'none'}.")
                )
        if not self.public and not self.faults:
            self.faults.append(
                Fault(Place(1, 1), "there is no public rule; wanted `public <name> = ...;` for what may be said.")
            )
        if self.faults:
            raise PhraseError(self.name, self.faults)
        used = {rule for rule, _ in self.used}
        notes = [f"{len(self.tagged)} tags were left out, the first at {self.tagged[0]}"] if self.tagged else []
        return Draft(
            intents={checked_name(rule): [body] for rule, body in self.public.items()},
            rules={checked_name(rule): body for rule, body in self.rules.items() if rule not in self.public or rule in used},
            notes=tuple(notes),
        )

    def _check_depth(self) -> None:
        """Raise PhraseError for brackets within brackets deeper than phrase files may have them."""
        depth = 0
        for piece in self.pieces:
            if piece.kind in ("mark", "stray"):
                depth = 0 if piece.text == ";" else depth + (piece.text in ("(", "[")) - (piece.text in (")", "]"))
            if depth > MAX_DEPTH:
                fault = Fault(piece.place, f"more than {MAX_DEPTH} brackets within brackets; wanted fewer, and rules for them.")
                raise PhraseError(self.name, [fault])

    def _statement(self) -> None:
        first = self._take()
        if first.text in ("grammar", "import"):
            if first.text == "import":
                self._fault(first, "imports are not followed; wanted all rules in one file.")
            self._skip()
            return
        is_public = first.text == "public"
        rule = self._take() if is_public else first
        if rule.kind != "rule" or self._text() != "=":
            self._fault(rule, f"{rule.text!r} begins no rule; wanted `<name> = ...;`.")
            self._skip()
            return
        self.next += 1
        name = rule.text[1:-1]
        if name in self.rules:
            self._fault(rule, f"the rule {rule.text} is there already; wanted it once.")
        body = self._expansion(rule)
        if self._text() == ";":
            self.next += 1
        else:
            self._fault(self._here(), f"{self._here().text!r} stands where ';' was wanted, at the end of {rule.text}.")
            self._skip()
        self.rules[name] = body
        if is_public:
            self.public[name] = body

    def _expansion(self, opened: _Piece) -> str:
        options = [self._sequence(opened)]
        while self._text() == "|":
            bar = self._take()
            options.append(self._sequence(bar))
        kept = [option for option in options if option is not None]
        words = [option for option in kept if option]
        if len(words) < len(kept):  # one option is <NULL>
            return f"[{' | '.join(words)}]" if words else ""
        return " | ".join(words)

    def _sequence(self, opened: _Piece) -> str | None:
        """Translate one alternative; None if nothing can ever be said there (<VOID>)."""
        parts: list[str] = []
        is_void, n_before, weight = False, self.next, ""
        while self.next < len(self.pieces) and self._text() not in ("|", ")", "]", ";"):
            piece = self._take()
            if piece.kind == "weight":
                weight = f"/{piece.text.strip('/').strip()}/ "
            elif piece.text == "<VOID>":
                is_void = True
            elif piece.text != "<NULL>":
                parts += self._item(piece)
        if self.next == n_before:
            self._fault(opened, f"nothing follows {opened.text!r}; wanted words.")
        if is_void:
            return None
        return weight + " ".join(parts) if parts else ""

    def _item(self, piece: _Piece) -> Iterator[str]:
        if piece.kind == "tag":
            self.tagged.append(piece.place)
        elif piece.text in ("(", "["):
            body = self._expansion(piece)
            closing = ")" if piece.text == "(" else "]"
            if self._text() == closing:
                self.next += 1
            else:
                self._fault(piece, f"{piece.text!r} is never closed; wanted {closing!r}.")
            if body:
                yield f"[{body}]" if piece.text == "[" else f"({body})"
        elif piece.text in ("*", "+"):
            self._fault(piece, f"{piece.text!r} repeats without end; wanted the repetitions written out, as in a [a] [a].")
        elif piece.kind == "rule":
            self.used.append((piece.text[1:-1], piece.place))
            yield f"{{{checked_name(piece.text[1:-1])}}}"
        elif piece.kind == "quoted":
            yield " ".join(escaped(word) for word in re.sub(r"\\(.)", r"\1", piece.text[1:-1]).split())
        elif piece.kind == "word":
            yield escaped(piece.text)
        else:
            self._fault(piece, f"{piece.text!r} does not belong here.")

    def _here(self) -> _Piece:
        return self.pieces[min(self.next, len(self.pieces) - 1)]

    def _text(self) -> str:
        piece = self.pieces[self.next] if self.next < len(self.pieces) else None
        return piece.text if piece is not None and piece.kind in ("mark", "stray") else ""

    def _take(self) -> _Piece:
        piece = self._here()
        self.next += 1
        return piece

    def _skip(self) -> None:
        """Continue after the next semicolon."""
        while self.next < len(self.pieces) and self._take().text != ";":
            pass

    def _fault(self, piece: _Piece, message: str) -> None:
        self.faults.append(Fault(piece.place, message))


def _without_header(text: str) -> str:
    """Blank out the line `#JSGF V1.0 encoding locale;`, so that places stay true."""
    return re.sub(r"\A\ufeff?#JSGF[^;\n]*;?", lambda match: " " * len(match.group()), text)


def _cut(text: str) -> Iterator[_Piece]:
    for match in _PIECES.finditer(text):
        if match.lastgroup != "space":
            before = text[: match.start()]
            place = Place(before.count("\n") + 1, match.start() - before.rfind("\n"))
            yield _Piece(str(match.lastgroup), match.group(), place)
