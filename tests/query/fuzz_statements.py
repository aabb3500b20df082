"""Random statements for fuzz.py, as trees that can be made smaller.

A tree is a text, a list of trees, or one of Maybe (can be left out), Several (elements can be left out) and Either (has
shorter forms). Statements mean the same in DuckDB and in DataFusion: NULLs are ordered in so many words, what is numbered
or cut off is in an order without ties, and sums are exact (floats are eighths).

Kinds of values: i integers, x integers up to the limits (never calculated with), f floats, m decimals, b booleans,
d dates, t timestamps, s strings, z bytes.
"""

import random
from dataclasses import dataclass, field

import fuzz_tables

SIMPLE = {
    "i": "CAST(0 AS BIGINT)",
    "x": "CAST(0 AS BIGINT)",
    "f": "CAST(0 AS DOUBLE)",
    "m": "CAST(0 AS DECIMAL(18, 4))",
    "b": "true",
    "d": "DATE '2000-01-01'",
    "t": "TIMESTAMP '2000-01-01 00:00:00'",
    "s": "'text'",
    "z": "CAST('text' AS BYTEA)",
}
TYPES = {
    "i": "BIGINT",
    "x": "BIGINT",
    "f": "DOUBLE",
    "m": "DECIMAL(38, 6)",
    "b": "BOOLEAN",
    "d": "DATE",
    "t": "TIMESTAMP",
    "s": "VARCHAR",
    "z": "BYTEA",
}


@dataclass
class Maybe:
    part: object


@dataclass
class Several:
    separator: str
    parts: list
    least: int = 1


@dataclass
class Either:
    part: object
    shorter: list


def text(tree) -> str:
    if isinstance(tree, str):
        return tree
    if isinstance(tree, list):
        return "".join(map(text, tree))
    if isinstance(tree, Several):
        return tree.separator.join(map(text, tree.parts))
    return text(tree.part)


def shorter(tree):
    """The tree with one thing less, in every way; what is left out is large first."""
    if isinstance(tree, list):
        for at, part in enumerate(tree):
            for less in shorter(part):
                yield [*tree[:at], less, *tree[at + 1 :]]
    elif isinstance(tree, Maybe):
        yield ""
        for less in shorter(tree.part):
            yield Maybe(less)
    elif isinstance(tree, Several):
        if len(tree.parts) > tree.least:
            for at in range(len(tree.parts)):
                yield Several(tree.separator, tree.parts[:at] + tree.parts[at + 1 :], tree.least)
        for at, part in enumerate(tree.parts):
            for less in shorter(part):
                yield Several(tree.separator, [*tree.parts[:at], less, *tree.parts[at + 1 :]], tree.least)
    elif isinstance(tree, Either):
        yield from tree.shorter
        for less in shorter(tree.part):
            yield Either(less, tree.shorter)


@dataclass
class Column:
    name: str
    kind: str
    exact: bool = True  # the same to the last bit however it is calculated


@dataclass
class Scope:
    columns: list[Column]
    unique: list[str] = field(default_factory=list)  # columns that tell rows apart; empty where none do

    def of(self, kind: str) -> list[Column]:
        return [column for column in self.columns if column.kind == kind]


class Statements:
    def __init__(self, dice: random.Random, tables: list[fuzz_tables.Table]):
        self.dice = dice
        self.tables = tables
        self.aliases = 0

    def one_in(self, n: int) -> bool:
        return self.dice.randrange(n) == 0

    def alias(self) -> str:
        self.aliases += 1
        return f"a{self.aliases}"

    # ---- Values

    def column(self, scope: Scope, kind: str) -> str | None:
        columns = scope.of(kind)
        return self.dice.choice(columns).name if columns else None

    def literal(self, kind: str) -> str:
        dice = self.dice
        if self.one_in(15):
            return f"CAST(NULL AS {TYPES[kind]})"
        return {
            "i": lambda: f"CAST({dice.choice([0, 1, 7, 100, -3])} AS BIGINT)",
            "x": lambda: f"CAST({dice.choice([0, 9223372036854775807])} AS BIGINT)",
            "f": lambda: f"CAST({dice.choice(['0', '0.5', '-3.25', '100'])} AS DOUBLE)",
            "m": lambda: f"CAST({dice.choice(['0', '0.25', '-12.5', '1000'])} AS DECIMAL(12, 2))",
            "b": lambda: dice.choice(["true", "false"]),
            "d": lambda: f"DATE '{dice.randrange(1989, 2032)}-02-28'",
            "t": lambda: f"TIMESTAMP '{dice.randrange(1959, 2032)}-12-31 23:59:59.999999'",
            "s": lambda: dice.choice(["''", "'one'", "'k'", "'a text that is longer than twelve bytes'"]),
            "z": lambda: "CAST('a1' AS BYTEA)",
        }[kind]()

    def value(self, scope: Scope, kind: str, depth: int = 2):
        column = self.column(scope, kind)
        leaf = column if column and not self.one_in(8) else self.literal(kind)
        if depth == 0 or self.dice.random() < 0.5:
            return leaf
        return Either(self.calculated(scope, kind, depth - 1), [leaf, SIMPLE[kind]])

    def calculated(self, scope: Scope, kind: str, depth: int):
        of = lambda other: self.value(scope, other, depth)  # noqa: E731
        dice, same = self.dice, of(kind)
        forms = [
            lambda: ["CASE WHEN ", self.predicate(scope, depth), " THEN ", same, " ELSE ", of(kind), " END"],
            lambda: ["coalesce(", same, ", ", of(kind), ")"],
        ]
        if kind != "m":  # of decimals its scale is that of both in DataFusion, and of the first in DuckDB
            forms.append(lambda: ["nullif(", same, ", ", of(kind), ")"])
        own = {
            "i": [
                lambda: ["(CAST(", same, f" AS BIGINT) {dice.choice('+-*')} {dice.randrange(2, 9)})"],
                lambda: ["(CAST(", same, " AS BIGINT) + ", of("i"), ")"],
                lambda: ["CAST(character_length(", of("s"), ") AS BIGINT)"],
                lambda: [f"CAST(extract({dice.choice(['year', 'month', 'day'])} FROM ", of("d"), ") AS BIGINT)"],
                lambda: ["(CAST(", same, f" AS BIGINT) % {dice.randrange(2, 90)})"],
            ],
            "f": [
                lambda: ["(CAST(", same, f" AS DOUBLE) {dice.choice('+-*')} {dice.choice(['2', '0.5', '8'])})"],
                lambda: ["CAST(", of("i"), " AS DOUBLE)"],
            ],
            "m": [lambda: ["CAST(", of("i"), " AS DECIMAL(24, 4))"]],
            "b": [lambda: ["(", self.predicate(scope, depth), ")"]],
            "d": [lambda: ["CAST(", of("t"), " AS DATE)"]],
            "s": [
                lambda: ["(", same, " || ", of("s"), ")"],
                lambda: [f"{dice.choice(['upper', 'lower'])}(", same, ")"],
                lambda: ["substring(", same, f", {dice.randrange(1, 5)}, {dice.randrange(0, 20)})"],
                lambda: ["CAST(", of(dice.choice("ids")), " AS VARCHAR)"],
            ],
        }.get(kind, [])
        return dice.choice(forms + own * 2)()

    def predicate(self, scope: Scope, depth: int = 2):
        dice = self.dice
        if depth > 0 and self.one_in(3):
            several = Several(
                dice.choice([" AND ", " OR "]), [self.predicate(scope, depth - 1) for _ in range(dice.randrange(2, 4))]
            )
            return ["(NOT (", several, "))"] if self.one_in(4) else ["(", several, ")"]
        kind = dice.choice([column.kind for column in scope.columns] or ["i"])
        value = self.value(scope, kind, depth - 1 if depth else 0)
        other = self.value(scope, kind, 0)
        forms = [
            lambda: [value, dice.choice([" = ", " <> ", " < ", " <= ", " > ", " >= "]), other],
            lambda: [value, dice.choice([" IS NULL", " IS NOT NULL"])],
            lambda: [value, dice.choice([" IS DISTINCT FROM ", " IS NOT DISTINCT FROM "]), other],
            lambda: [value, dice.choice([" IN (", " NOT IN ("]), Several(", ", [self.literal(kind) for _ in range(4)]), ")"],
            lambda: [value, " BETWEEN ", self.literal(kind), " AND ", other],
        ]
        if kind == "s":
            pattern = dice.choice(["'%e%'", "'key%'", "'%1'", "'_e%t_xt%'", "''", "'%naïve%'"])
            forms += [lambda: [value, dice.choice([" LIKE ", " NOT LIKE "]), pattern]] * 2
        return ["(", dice.choice(forms)(), ")"]

    # ---- What is read

    def table(self, but: list[str]):
        """A table that is not among those: a join of one with itself may have far too many rows."""
        table = self.dice.choice([table for table in self.tables if table.name not in but])
        alias = self.alias()
        columns = [Column(f"{alias}.{name}", kind) for name, (kind, _) in fuzz_tables.COLUMNS.items()]
        return f"{table.name} {alias}", Scope(columns, [f"{alias}.id"]), [table.name]

    def nested(self, depth: int):
        query, columns, unique = self.select(depth, sorts=False)
        alias = self.alias()
        scope = Scope([Column(f"{alias}.{column.name}", column.kind, column.exact) for column in columns])
        if unique:
            scope.unique = [f"{alias}.{name}" for name in unique]
        return ["(", query, f") {alias}"], scope

    def key_pair(self, left: Scope, right: Scope):
        """Columns of both that can be equal, preferring those that repeat little."""
        pairs = [
            (a, b)
            for a in left.columns
            for b in right.columns
            if a.kind == b.kind and a.exact and b.exact and a.kind in "imsdt"
        ]
        keys = [
            (a, b)
            for a, b in pairs
            if a.name.split(".")[1] in fuzz_tables.KEYS and b.name.split(".")[1] in fuzz_tables.KEYS
        ]
        return self.dice.choice(keys or pairs) if pairs else None

    def joined(self, depth: int):
        """A FROM clause."""
        if depth > 0 and self.one_in(4):
            tree, scope = self.nested(depth - 1)
            used = []
        else:
            tree, scope, used = self.table([])
        for _ in range(self.dice.choice([0, 0, 1, 1, 2])):
            if len(set(used)) == len(self.tables):
                break
            if depth > 0 and self.one_in(3):
                other, right = self.nested(depth - 1)
                more = [table.name for table in self.tables]  # whatever it reads
            else:
                other, right, more = self.table(used)
            pair = self.key_pair(scope, right)
            if pair is None:
                continue
            used += more
            kind = self.dice.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
            both = Scope(scope.columns + right.columns, scope.unique + right.unique if scope.unique and right.unique else [])
            equal = " IS NOT DISTINCT FROM " if self.one_in(8) else " = "
            conditions = [f"({pair[0].name}{equal}{pair[1].name})"]  # IS ... AND is read in another way by DataFusion
            if self.one_in(5) and (second := self.key_pair(scope, right)):
                conditions.append(f"{second[0].name} = {second[1].name}")
            if self.one_in(3):
                conditions.append(self.predicate(both, 1))
            tree = Either([tree, f" {kind} ", other, " ON ", Several(" AND ", conditions)], [])
            scope = both
        return tree, scope

    def condition(self, scope: Scope):
        """A term of WHERE that reads another table."""
        other, right, _ = self.table([])
        pair = self.key_pair(scope, right)
        if pair is None:
            return self.predicate(scope)
        mine, its = pair[0].name, pair[1].name
        more = Maybe([" AND ", self.predicate(right, 1)])
        forms = [
            lambda: [f"EXISTS (SELECT 1 FROM {other} WHERE {its} = {mine}", more, ")"],
            lambda: [f"NOT EXISTS (SELECT 1 FROM {other} WHERE {its} = {mine}", more, ")"],
            lambda: [f"{mine} IN (SELECT {its} FROM {other} WHERE true", more, ")"],
            lambda: [f"{mine} NOT IN (SELECT {its} FROM {other} WHERE true", more, ")"],
            lambda: [f"{mine} {self.dice.choice('<>')} (SELECT max({its}) FROM {other} WHERE true", more, ")"],
            lambda: [f"(SELECT count(*) FROM {other} WHERE {its} = {mine}", more, ") < 3"],
        ]
        return self.dice.choice(forms)()

    # ---- Statements

    def aggregate(self, scope: Scope):
        """(tree, kind, whether it is exact)"""
        dice = self.dice
        distinct = "DISTINCT " if self.one_in(4) else ""
        any_kind = dice.choice([column.kind for column in scope.columns if column.exact] or ["i"])
        number = dice.choice("iimf")
        comparable = dice.choice("ixmdts")
        forms = [
            lambda: ("count(*)", "i", True),
            lambda: ([f"count({distinct}", self.value(scope, any_kind, 1), ")"], "i", True),
            lambda: ([f"sum({distinct}", self.value(scope, number, 1), ")"], number, True),
            lambda: (["avg(", self.value(scope, number, 1), ")"], "f", False),
            lambda: ([f"{dice.choice(['min', 'max'])}(", self.value(scope, comparable, 1), ")"], comparable, True),
            lambda: ([f"{dice.choice(['stddev_samp', 'var_pop'])}(CAST(", self.value(scope, "i", 0), " AS DOUBLE))"], "f", False),
            lambda: ([f"{dice.choice(['bool_and', 'bool_or'])}(", self.value(scope, "b", 1), ")"], "b", True),
        ]
        tree, kind, exact = dice.choice(forms)()
        if self.one_in(8):
            tree = [tree, Maybe([" FILTER (WHERE ", self.predicate(scope, 1), ")"])]
        return tree, "f" if kind == "f" else kind, exact

    def order(self, names: list[str]) -> str:
        """Whole, or what is cut off or numbered by it would be left to chance."""
        return ", ".join(
            f"{name} {self.dice.choice(['ASC', 'DESC'])} NULLS {self.dice.choice(['FIRST', 'LAST'])}" for name in names
        )

    def window(self, scope: Scope):
        """(tree, kind, whether it is exact)"""
        dice = self.dice
        exact = [column.name for column in scope.columns if column.exact]
        keys = dice.sample(exact, min(len(exact), dice.randrange(1, 3)))
        partition = Maybe(["PARTITION BY ", dice.choice(exact), " "]) if exact and not self.one_in(4) else ""
        ordered = ["ORDER BY ", self.order(keys)] if keys else ""
        total = ["ORDER BY ", self.order(keys), ", ", self.order(scope.unique)] if scope.unique and keys else None
        kind = dice.choice("imfsd")
        value = self.value(scope, kind, 1)
        number = dice.choice("im")
        summed = self.value(scope, number, 1)
        forms = [
            lambda: ([f"{dice.choice(['rank', 'dense_rank'])}() OVER (", partition, ordered, ")"], "i", True),
            lambda: (["percent_rank() OVER (", partition, ordered, ")"], "f", False),
            lambda: (["sum(", summed, ") OVER (", partition, Maybe(ordered), ")"], number, True),
            lambda: (["count(", value, ") OVER (", partition, Maybe(ordered), ")"], "i", True),
            lambda: ([f"{dice.choice(['min', 'max'])}(", summed, ") OVER (", partition, Maybe(ordered), ")"], number, True),
        ]
        if total:
            frame = f" ROWS BETWEEN {dice.choice(['UNBOUNDED', '3', '0', '500'])} PRECEDING AND "
            frame += dice.choice(["CURRENT ROW", "2 FOLLOWING", "UNBOUNDED FOLLOWING"])
            shift = dice.choice(["", ", 2", ", 1000"])
            forms += [
                lambda: (["row_number() OVER (", partition, total, ")"], "i", True),
                lambda: ([f"{dice.choice(['lag', 'lead'])}(", value, f"{shift}) OVER (", partition, total, ")"], kind, True),
                lambda: (["first_value(", value, ") OVER (", partition, total, ")"], kind, True),
                lambda: (["last_value(", value, ") OVER (", partition, total, Maybe(frame), ")"], kind, True),
                lambda: (["sum(", summed, ") OVER (", partition, total, frame, ")"], number, True),
                lambda: (["max(", summed, ") OVER (", partition, total, frame, ")"], number, True),
                lambda: (["avg(", summed, ") OVER (", partition, total, frame, ")"], "f", False),
                lambda: ([f"ntile({dice.randrange(1, 9)}) OVER (", partition, total, ")"], "i", True),
            ]
        return dice.choice(forms)()

    def ending(self, columns: list[Column]):
        """ORDER BY and LIMIT: by all columns, and cut only where that says which rows."""
        dice = self.dice
        exact = [column.name for column in columns if column.exact]
        if not exact or dice.random() < 0.4:
            return ""
        dice.shuffle(exact)
        tree = f" ORDER BY {self.order(exact)}"
        if len(exact) == len(columns) and not self.one_in(3):
            tree += f" LIMIT {dice.choice([0, 1, 10, 100, 5000])}"
            if self.one_in(3):
                tree += f" OFFSET {dice.choice([1, 50, 5000])}"
        return Maybe(tree)

    def select(self, depth: int, sorts: bool = True):
        """(tree, its columns, those of them that tell rows apart)"""
        dice = self.dice
        if depth > 0 and self.one_in(7):
            return self.combined(depth, sorts)
        source, scope = self.joined(depth)
        terms = [self.predicate(scope) for _ in range(dice.choice([0, 0, 1, 2]))]
        if depth > 0 and self.one_in(3):
            terms.append(self.condition(scope))
        where = Maybe([" WHERE ", Several(" AND ", terms)]) if terms else ""
        items, columns, unique, tail = dice.choice([self.plain, self.plain, self.grouped, self.grouped, self.windowed])(scope)
        names = [[tree, f" AS {column.name}"] for tree, column in zip(items, columns)]
        distinct = Maybe("DISTINCT ") if tail == "" and all(c.exact for c in columns) and self.one_in(5) else ""
        tree = ["SELECT ", distinct, Several(", ", names), " FROM ", source, where, tail]
        if sorts:
            tree.append(self.ending(columns))
        elif unique and len(unique) <= len(columns) and all(c.exact for c in columns) and self.one_in(4):
            tree.append(self.ending(columns))
        return tree, columns, unique

    def plain(self, scope: Scope):
        items, columns, unique = [], [], []
        if scope.unique and not self.one_in(4):
            for name in scope.unique:
                unique.append(f"c{len(items)}")
                columns.append(Column(f"c{len(items)}", next(c.kind for c in scope.columns if c.name == name)))
                items.append(name)
        for _ in range(self.dice.randrange(1, 6)):
            if self.one_in(2):
                column = self.dice.choice(scope.columns)
                items.append(column.name)
                columns.append(Column(f"c{len(columns)}", column.kind, column.exact))
                continue
            kind = self.dice.choice("ifmbdtsxz")
            if not all(column.exact for column in scope.of(kind)):
                kind = "s" if all(c.exact for c in scope.of("s")) else "b"
            items.append(self.value(scope, kind))
            columns.append(Column(f"c{len(columns)}", kind))
        return items, columns, unique, ""

    def grouped(self, scope: Scope):
        exact = [column for column in scope.columns if column.exact]
        keys = self.dice.sample(exact, min(len(exact), self.dice.choice([0, 1, 1, 1, 2, 3])))
        items = [key.name for key in keys]
        columns = [Column(f"c{at}", key.kind) for at, key in enumerate(keys)]
        for _ in range(self.dice.randrange(1, 5)):
            tree, kind, is_exact = self.aggregate(Scope(exact))
            items.append(tree)
            columns.append(Column(f"c{len(columns)}", kind, is_exact))
        tail, unique = "", []
        if keys:
            names = [key.name for key in keys]
            plain = not self.one_in(4)
            how = "" if plain else self.dice.choice(["ROLLUP", "CUBE"])
            tail = [" GROUP BY ", Several(", ", names) if plain else [f"{how} (", Several(", ", names), ")"]]
            if plain:
                unique = [f"c{at}" for at in range(len(keys))]
            if self.one_in(4):
                tail = [*tail, Maybe(f" HAVING count(*) {self.dice.choice('<>')} {self.dice.choice([1, 3, 50])}")]
        else:
            tail = [""]  # not "": rows of it are no rows of the source
        return items, columns, unique, tail

    def windowed(self, scope: Scope):
        items, columns, unique, _ = self.plain(scope)
        exact = Scope([column for column in scope.columns if column.exact], scope.unique)
        if not exact.columns:
            return items, columns, unique, ""
        for _ in range(self.dice.randrange(1, 4)):
            tree, kind, is_exact = self.window(exact)
            items.append(tree)
            columns.append(Column(f"c{len(columns)}", kind, is_exact))
        return items, columns, unique, [""]

    def combined(self, depth: int, sorts: bool):
        kinds = [self.dice.choice("imsdbtf") for _ in range(self.dice.randrange(1, 5))]
        columns = [Column(f"c{at}", kind) for at, kind in enumerate(kinds)]

        def side():
            source, scope = self.joined(depth - 1)
            scope = Scope([column for column in scope.columns if column.exact], scope.unique)
            where = Maybe([" WHERE ", self.predicate(scope)]) if scope.columns and not self.one_in(3) else ""
            items = [
                ["CAST(", self.value(scope, kind, 1), f" AS {TYPES[kind]}) AS {column.name}"]
                for kind, column in zip(kinds, columns)
            ]
            return ["SELECT ", Several(", ", items), " FROM ", source, where]

        how = self.dice.choice(["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"])
        both = Either(["(", side(), f") {how} (", side(), ")"], [side()])
        names = Several(", ", [column.name for column in columns])
        tree = ["SELECT ", names, " FROM (", both, f") {self.alias()}"]
        if sorts:
            tree.append(self.ending(columns))
        return tree, columns, []

    def statement(self):
        """(tree, columns)"""
        tree, columns, _ = self.select(2)
        return tree, columns
