"""The message about a run's end: what happened, the numbers, the link; for Slack, ntfy, or as plain JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.lib.registry.outcome import Outcome
from components.lib.reporting import escape
from components.lib.reporting.history import by_source
from components.lib.reporting.wording import label

SLACK_LIMIT = 2900  # characters of a section; Slack takes 3,000
SLACK_HEAD = 150  # of a header
NTFY_LIMIT = 4000  # bytes of a message; ntfy takes 4,096 and makes a file of a longer one
SHOWN = 12  # log lines in a message; all are in outcome.json
# Ending -> ntfy's tag (an emoji's short name) and priority (3 is the default, 4 makes a sound).
_NTFY = {
    "promoted": ("tada", "3"), "rejected": ("no_entry_sign", "3"), "measured": ("bar_chart", "3"),
    "no-change": ("zzz", "2"), "failed": ("rotating_light", "4"),
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is sent to the webhook."""

    body: bytes
    headers: dict[str, str]


def message(outcome: Outcome, link: str, format: str) -> Request:
    """The request for a webhook that expects `format`, one of schema.MESSAGES; `link` leads to the run."""
    return {"json": _json, "slack": _slack, "ntfy": _ntfy}[format](outcome, link)


def title(outcome: Outcome) -> str:
    """The headline: recipe and ending."""
    return f"{outcome.recipe or 'grpo-pipeline'}: {outcome.ending}"


def lines(outcome: Outcome) -> list[str]:
    """What happened and the numbers, without log and link."""
    found = [f"{outcome.sentence.rstrip('.')}.", *(f"Warning: {told}" for told in outcome.warnings)]
    for protocol in dict.fromkeys(row["protocol"] for row in outcome.results):
        rows = [row for row in outcome.results if row["protocol"] == protocol]
        found.append(f"{protocol}, {rows[0]['n']:,} problems: {', '.join(_accuracy(row) for row in rows)}.")
    if sources := by_source(outcome):
        found.append(f"By source: {sources}.")
    gate = outcome.numbers.get("gate", {})
    gains = [
        f"{gate[key]:+.1%} on the {rival}" for rival in ("base", "champion") if (key := f"{rival}_difference") in gate
    ]
    if gains:
        found.append(f"Gate: {gate['accuracy']:.1%} of {gate['n']:,.0f} problems, {', '.join(gains)}.")
    rows_ = outcome.numbers.get("compare", {})
    if "rows" in rows_:
        found.append(f"Data: {rows_['rows']:,.0f} rows, {rows_['new_rows']:,.0f} of them new since the champion.")
    took = _duration(sum(outcome.seconds.values()))
    found.append(f"Steps took {took}{f', {outcome.gpu_hours:.1f} GPU-hours' if outcome.gpu_hours else ''}.")
    return found


def text(outcome: Outcome, link: str) -> str:
    """The whole message as plain text, the last log lines of a failed step included."""
    parts = [title(outcome), *lines(outcome)]
    if outcome.log:
        parts += [f"Last lines of {outcome.failed_step}:", *(f"    {line}" for line in outcome.log[-SHOWN:])]
    return "\n".join([*parts, link] if link else parts)


def _json(outcome: Outcome, link: str) -> Request:
    return _request({"text": text(outcome, link), "link": link, **asdict(outcome)})


def _slack(outcome: Outcome, link: str) -> Request:
    """Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""
    head, body = title(outcome), "\n".join(lines(outcome))
    blocks = [_block("header", _plain(head, SLACK_HEAD)), _block("section", _plain(body, SLACK_LIMIT))]
    if outcome.log:
        step, log = (escape.slack_code(text) for text in (outcome.failed_step or "", "\n".join(outcome.log[-SHOWN:])))
        log = log[-SLACK_LIMIT + 100 :]
        blocks.append(_block("section", _marked(f"Last lines of `{step}`:\n```{log}```")))
    if link:
        run = escape.slack_code(outcome.run_id)
        where = (
            f"<{escape.address(link)}|{run}>" if link.startswith("http") else f"`{run}`: `{escape.slack_code(link)}`"
        )
        blocks.append({"type": "context", "elements": [_marked(f"run {where}")]})
    told = escape.slack(f"{head}. {outcome.sentence}")[:SLACK_LIMIT]
    return _request({"text": told, "mrkdwn": False, "blocks": blocks})


def _ntfy(outcome: Outcome, link: str) -> Request:
    """Text to a topic's address with ntfy's headers: https://docs.ntfy.sh/publish/."""
    tag, priority = _NTFY[outcome.ending]
    whole = text(outcome, "" if link.startswith("http") else link).partition("\n")[2].encode()
    if len(whole) > NTFY_LIMIT:  # what is last said is most telling, and the sentence comes first
        half = NTFY_LIMIT // 2
        whole = (whole[:half].decode(errors="ignore") + "\n[...]\n" + whole[-half:].decode(errors="ignore")).encode()
    head = " ".join(title(outcome).split()).encode("ascii", "replace").decode()
    headers = {"Title": head, "Tags": tag, "Priority": priority, "Content-Type": "text/plain"}
    return Request(whole, headers | ({"Click": escape.address(link)} if link.startswith("http") else {}))


def _request(value: Mapping[str, Any]) -> Request:
    return Request(json.dumps(value).encode(), {"Content-Type": "application/json"})


def _block(kind: str, text: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "text": text}


def _plain(text: str, limit: int) -> dict[str, Any]:
    """Text in which Slack sees no markup."""
    return {"type": "plain_text", "text": escape.slack(text)[:limit], "emoji": False}


def _marked(text: str) -> dict[str, Any]:
    """Slack's markup, of which every text from outside is escaped already."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _accuracy(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{label(row['checkpoint'])} {row['accuracy']:.1%} ({low:.1%} to {high:.1%})"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
