"""Conditions to PostgreSQL: names come from declarations, values are typed parameters, every table is asked for the firm's rows."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from queries.kernel import Collection
from queries.listing.derived import rows_of
from queries.listing.fields import SCALARS, SQL_TYPES, Field, Kind, fields_of, is_array_column
from queries.listing.resolve import All, Condition, Each, Key, Never, Op, Part, Related, Some, Span, Step, Test
from queries.listing.values import Loose

Source: TypeAlias = Callable[[Collection], str]

FOLDING = 'COLLATE "pg_c_utf8"'  # letters of any script fold alike, whatever the database's locale


def current(c: Collection) -> str:
    """The rows as they are now."""
    return rows_of(c, c.view.table)


def quoted(alias: str, name: str) -> str:
    return f'{alias}."{name}"'


def like(text: str) -> str:
    """The text as a LIKE pattern that means only itself."""
    return re.sub(r"([\\%_])", r"\\\1", text)


_SIGNS = {Op.equal: "=", Op.less: "<", Op.at_most: "<=", Op.more: ">", Op.at_least: ">="}


@dataclass(slots=True)
class Compiler:
    """Collects the parameters of one statement. `%(firm)s` is supplied by the reader, never here."""

    source: Source = current
    params: dict[str, object] = field(default_factory=dict)
    aliases: int = 0

    def param(self, value: object, type: str) -> str:
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f"%({name})s::{type}"

    def alias(self) -> str:
        self.aliases += 1
        return f"t{self.aliases}"

    def where(self, c: Condition, alias: str) -> str:
        """A condition that is never true by a missing value; it may be null where it is false."""
        match c:
            case All():
                return f"({' AND '.join(self.where(p, alias) for p in c.parts)})" if c.parts else "true"
            case Some():
                return f"({' OR '.join(self.where(p, alias) for p in c.parts)})" if c.parts else "false"
            case Never():
                return f"(({self.where(c.part, alias)}) IS NOT TRUE)"
            case Related():
                return self.related(c, alias)
            case Test():
                return self.test(c, alias)
            case _:
                assert_never(c)

    def related(self, c: Related, alias: str) -> str:
        other = self.alias()
        return (
            f"EXISTS (SELECT 1 FROM {self.source(c.target)} AS {other} WHERE {other}.firm_id = %(firm)s"
            f" AND {self.join(c, alias, other)} AND {self.where(c.condition, other)})"
        )

    def join(self, c: Related, ours: str, theirs: str) -> str:
        local, local_part, local_field = _end(c.origin, c.relation.local_field)
        remote, remote_part, remote_field = _end(c.target, c.relation.remote_field)
        mine, other = quoted(ours, local), quoted(theirs, remote)
        if local_field.kind is not Kind.many and remote_field.kind is not Kind.many:
            return f"{other} = {mine}"
        if remote_field.kind is not Kind.many:
            return f"{other} = ANY ({self.listed(mine, local_field, local_part)})"
        value = f"ANY ({self.listed(mine, local_field, local_part)})" if local_field.kind is Kind.many else mine
        if local_field.kind is Kind.many:
            return f"EXISTS (SELECT 1 FROM unnest({self.listed(other, remote_field, remote_part)}) AS j(v) WHERE j.v = {value})"
        if is_array_column(remote_field):
            return f"{other} @> ARRAY[{mine}]"
        if remote_part:
            return f"{other} @> jsonb_build_array(jsonb_build_object('{remote_part}', {mine}))"
        return f"{other} @> jsonb_build_array({mine})"

    def listed(self, column: str, f: Field, part: str) -> str:
        """A list column as an array of scalars."""
        if is_array_column(f):
            return column
        each = f.each.parts[part] if part and f.each is not None else f.each
        type = SQL_TYPES[each.kind] if each is not None else "text"
        value = f"e.v ->> '{part}'" if part else "e.v #>> '{}'"
        return f"ARRAY(SELECT ({value})::{type} FROM jsonb_array_elements({_elements(column)}) AS e(v))"

    def test(self, t: Test, alias: str) -> str:
        column = quoted(alias, t.path.column)
        steps, leaf = t.path.steps, t.path.leaf
        if not steps:
            if leaf.kind in SCALARS:
                return self.scalar(t, column, leaf)
            if is_array_column(leaf):
                return f"cardinality({column}) > 0"
            return self.json(t, column, leaf)
        if steps == (Each(),) and is_array_column(Field(kind=Kind.many, each=leaf)):
            if t.op is Op.equal:
                return f"{column} @> ARRAY[{self.param(t.value, SQL_TYPES[leaf.kind])}]"
            element = self.alias()
            return f"EXISTS (SELECT 1 FROM unnest({column}) AS {element}(v) WHERE {self.scalar(t, f'{element}.v', leaf)})"
        return self.walk(t, column, steps)

    def walk(self, t: Test, json: str, steps: tuple[Step, ...]) -> str:
        if not steps:
            leaf = t.path.leaf
            if leaf.kind in SCALARS:
                return self.scalar(t, f"({json} #>> '{{}}')::{SQL_TYPES[leaf.kind]}", leaf)
            return self.json(t, json, leaf)
        match steps[0]:
            case Each():
                element = self.alias()
                inner = self.walk(t, f"{element}.v", steps[1:])
                return f"EXISTS (SELECT 1 FROM jsonb_array_elements({_elements(json)}) AS {element}(v) WHERE {inner})"
            case Part(name):
                return self.walk(t, f"({json} -> '{name}')", steps[1:])
            case Key(name):
                return self.walk(t, f"({json} -> {self.param(name, 'text')})", steps[1:])
            case _:
                assert_never(steps[0])

    def scalar(self, t: Test, x: str, leaf: Field) -> str:
        type = SQL_TYPES[leaf.kind]
        match t.op:
            case Op.present:
                return f"{x} <> ''" if leaf.kind is Kind.text else f"{x} IS NOT NULL"
            case Op.contains:
                return f"{x} ILIKE {self.param(f'%{like(str(t.value))}%', 'text')} {FOLDING}"
            case Op.begins:
                return f"{x} LIKE {self.param(f'{like(str(t.value))}%', 'text')}"
            case Op.ends:
                return f"{x} LIKE {self.param(f'%{like(str(t.value))}', 'text')}"
            case Op.holds:
                return f"{x} LIKE {self.param(f'%{like(str(t.value))}%', 'text')}"
            case Op.within:
                if not isinstance(t.value, Span):
                    raise TypeError("within takes a span")
                return f"({x} >= {self.param(t.value.start, type)} AND {x} < {self.param(t.value.end, type)})"
            case _:
                return f"{x} {_SIGNS[t.op]} {self.param(t.value, type)}"

    def json(self, t: Test, json: str, leaf: Field) -> str:
        if t.op is Op.has:
            return f"{json} ? {self.param(t.value, 'text')}"
        if t.op is Op.present:
            return f"{json} NOT IN ('null', '[]', '{{}}', '\"\"')"
        text = f"({json} #>> '{{}}')"
        if t.op is Op.contains:
            return f"{text} ILIKE {self.param(f'%{like(str(t.value))}%', 'text')} {FOLDING}"
        if not isinstance(t.value, Loose):
            raise TypeError(f"{leaf.kind} takes a loose value")
        as_text = f'{text} {_SIGNS[t.op]} {self.param(t.value.text, "text")} COLLATE "C"'
        if t.value.number is None:
            return as_text
        as_number = f"{text}::numeric {_SIGNS[t.op]} {self.param(t.value.number, 'numeric')}"
        return f"CASE WHEN jsonb_typeof({json}) = 'number' THEN {as_number} ELSE {as_text} END"


def _elements(json: str) -> str:
    return f"CASE WHEN jsonb_typeof({json}) = 'array' THEN {json} ELSE '[]' END"


def _end(c: Collection, path: str) -> tuple[str, str, Field]:
    """Column, part and field of one end of a relation."""
    column, _, part = path.partition(".")
    return column, part, fields_of(c.view.row)[column]
