"""The page `paper_vs_measured.md`: what papers say beside what was measured. Generated: no number of ours is typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mer_bench.metrics.definitions import METRICS, split
from mer_bench.results.claims import Claim, Claims, Side, read_claims
from mer_bench.results.markdown import DASH, code, count, number, table, text
from mer_bench.results.measured import Sums
from mer_bench.results.pages.words import MARK
from mer_bench.results.published import Number, Published, read_published
from mer_bench.results.schema import Record
from mer_bench.results.verdicts import Judged, Ours, Verdict, judge, sides

PAGE, CLAIMS, PUBLISHED = "paper_vs_measured.md", "claims.yaml", "published.yaml"
VERDICTS: tuple[Verdict, ...] = ("within", "explained by protocol", "not reproduced", "cannot test")

_RULE = (
    "A score agrees where it lies inside our 95 % interval, widened by half a point. A difference agrees where our "
    "whole interval lies within half a point of it, and fails where our whole interval lies outside. A statement "
    "that one method is better agrees where our whole interval does, and fails where it lies on the other side or "
    "within half a point of zero. **within**: it agrees under the honest protocol; of a score this means that it is "
    "not contradicted, and a wide interval contradicts little. **explained by protocol**: it agrees under the "
    "paper's own procedure (faults included) and fails under the honest one. **not reproduced**: it fails under "
    "both, or under the honest one where nothing repeats the paper's. **cannot test**: the inputs or the runs are "
    "not here, or the interval holds both answers. Runs of older code, or under an older definition of a protocol, "
    "do not count.\n"
)


def paper_pages(folder: Path, records: Iterable[Record], sums: Sums) -> dict[str, str]:
    """The page by file name; none where the folder holds no claims.

    Args:
        folder: with `CLAIMS` and, for the second half of the page, `PUBLISHED`.
        records: in any order.
        sums: statistics by cluster, by run key and condition.

    Raises:
        UserError: one of the two files does not fit.
    """
    if not (folder / CLAIMS).is_file():
        return {}
    claims = read_claims(folder / CLAIMS)
    published = read_published(folder / PUBLISHED) if (folder / PUBLISHED).is_file() else None
    return {PAGE: page(claims, judge(claims.claims, records, sums), published)}


def page(claims: Claims, judged: Sequence[Judged], published: Published | None) -> str:
    """The whole page."""
    tally = Counter(one.verdict for one in judged)
    parts = [
        MARK,
        "# Papers and measurements\n",
        f"{count(len(judged))} claims of the field, each held against the records of this repository by one rule.\n",
        _RULE,
        table(("verdict", "claims"), [(verdict, count(tally[verdict])) for verdict in VERDICTS]),
    ]
    for protocol in dict.fromkeys(one.claim.honest[0] for one in judged):
        mine = [one for one in judged if one.claim.honest[0] == protocol]
        parts += [f"## {code(protocol)}\n", _claims(claims, mine), _reasons(mine)]
    if published is not None:
        parts.append(_published(published))
    return "\n".join(part for part in parts if part)


def _claims(claims: Claims, judged: Sequence[Judged]) -> str:
    header = ("claim", "source", "its protocol, as far as stated", "says", "ours, paper's procedure", "ours, honest",
              "verdict")  # fmt: skip
    rows = [
        (
            f"{code(one.claim.id)} {text(one.claim.says)} ({_rows(one.claim)})",
            f"{text(claims.sources[one.claim.source])}; {text(one.claim.place)}",
            text(one.claim.protocol),
            show(one.claim.metric, one.claim.value, sign=one.claim.kind == "difference"),
            DASH if one.legacy is None else _ours(one.claim, one.legacy),
            _ours(one.claim, one.honest),
            one.verdict,
        )
        for one in judged
    ]
    return table(header, rows, left=3)


def _rows(claim: Claim) -> str:
    return f"{code(claim.metric)}: {' against '.join(map(_side, sides(claim)))}"


def _side(side: Side) -> str:
    inputs = f" on {text(', '.join(side.modalities))}" if side.modalities else ""
    under = f" under {code(side.condition)}" if side.condition != "full" else ""
    return f"{code(side.method)}{inputs}{under}"


def show(metric: str, value: float | None, *, sign: bool = False) -> str:
    """A value as tables show it: per cent with two digits, or three digits."""
    percent = METRICS[split(metric)[1]].percent
    return number(None if value is None else value * (100 if percent else 1), 2 if percent else 3, sign=sign)


def _ours(claim: Claim, ours: Ours) -> str:
    if ours.value is None:
        return DASH
    signed = claim.kind != "score"
    shown = [show(claim.metric, end, sign=signed) for end in (ours.value, ours.low, ours.high)]
    inputs = text(" against ".join(dict.fromkeys(" + ".join(names) for names in ours.modalities)))
    elsewhere = "" if ours.protocol in (claim.honest[0], claim.legacy) else f"; {code(ours.protocol)}"
    return f"{shown[0]} ({shown[1]} to {shown[2]}); {inputs}{elsewhere}"


def _reasons(judged: Sequence[Judged]) -> str:
    lines = []
    for one in judged:
        said = [f"cannot test: {text(one.reason)}"] if one.reason else []
        if one.reason and not one.claim.testable:
            said.append("no run of this suite would tell")
        if one.commands:
            spoken = "what would resolve it" if one.commands[0].startswith("mer-bench compare") else "to supply it"
            said.append(f"{spoken}: {', '.join(f'`{command}`' for command in one.commands)}")
        said += [f"ours differs: {text(one.claim.differs)}"] if one.claim.differs else []
        if said:
            lines.append(f"- {code(one.claim.id)}: {'; '.join(said)}\n")
    return "".join(lines)


def published_table(published: Published, method: str) -> str:
    """What is reported of one method, with its source; empty where nothing is."""
    rows = [_published_row(published, one) for one in published.of(method)]
    header = ("metric", "value", "source", "edition", "corpus and protocol", "features", "chosen on", "compares")
    return table(header, rows, left=1) if rows else ""


def _published(published: Published) -> str:
    numbers = list(published.numbers())
    methods = sorted({one.method for one in numbers})
    title = "## Published numbers\n"
    size = (
        f"{count(len(numbers))} numbers of {count(len(methods))} methods, from {count(len(published.sources))} sources"
    )
    note = (
        f"{size}. None of them was measured here, and none is ranked; what each was chosen on, and why it does or does "
        f"not compare with a table of ours, stands beside it. The data file is {code(PUBLISHED)}.\n"
    )
    parts = [title, note]
    for method in methods:
        size = f"{count(len(list(published.of(method))))} numbers"
        parts.append(f"<details><summary>{code_html(method)}: {size}</summary>\n")
        parts += [published_table(published, method), "</details>\n"]
    unread = [f"- {code(method)}: {text(reason)}\n" for method, reason in sorted(published.unread.items())]
    return "\n".join([*parts, *(["No number could be read of:\n", "".join(unread)] if unread else [])])


def code_html(slug: str) -> str:
    """A slug inside HTML; it holds letters, digits, dots, dashes and underscores only."""
    return f"<code>{slug}</code>"


def _published_row(published: Published, one: Number) -> tuple[str, ...]:
    place, source = one.table, published.sources[one.table.source]
    near = f" ({code(place.near)})" if place.near else ""
    return (
        code(one.metric),
        show(one.metric, one.value),
        f"{text(source.title)}; {text(place.place)}; {source.read}",
        text(place.edition),
        f"{text(place.corpus)}: {text(place.protocol)}{near}",
        text(place.features),
        place.selection,
        f"{'yes' if place.comparable else 'no'}: {text(place.why)}",
    )
