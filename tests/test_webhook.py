"""Messages to a real HTTP server: what counts as taken, refused, or worth another try; the token and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from webhook_receiver import receiving

from pipeline.errors import SettingError
from pipeline.local.machine import free_port
from pipeline.settings import load
from pipeline.webhook import Webhook


@pytest.mark.parametrize(
    ("status", "taken", "again"),
    [(200, True, False), (204, True, False), (302, False, False), (400, False, False),
     (410, False, False), (422, False, False),
     (401, False, True), (403, False, True), (404, False, True),
     (408, False, True), (429, False, True), (500, False, True), (503, False, True)],
)  # fmt: skip
def test_what_an_answer_means(status: int, taken: bool, again: bool) -> None:
    with receiving(status) as receiver:
        answer = Webhook(receiver.url).post({"text": "é"}, "saw/1/opened")
    assert (answer.status, answer.taken, answer.again) == (status, taken, again)
    assert "secret-path" not in answer.why
    ((headers, body),) = receiver.posts
    assert body == {"text": "é"}
    assert headers["Idempotency-Key"] == "saw/1/opened"
    assert "Authorization" not in headers
    assert receiver.gets == 0  # a redirect is not followed


def test_nobody_there_is_worth_another_try() -> None:
    answer = Webhook(f"http://127.0.0.1:{free_port()}/secret-path").post({}, "k")
    assert (answer.status, answer.taken, answer.again) == (0, False, True)
    assert "127.0.0.1 does not answer" in answer.why
    assert "secret-path" not in answer.why


def test_the_token_comes_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    settings = load({"webhook_token_file": str(path), "home": str(tmp_path)}, {})
    with receiving(200) as receiver:
        Webhook(receiver.url, settings.webhook_token).post({}, "k")
    assert receiver.posts[0][0]["Authorization"] == "Bearer abc"
    path.unlink()
    with pytest.raises(SettingError, match="there is no such file"):
        _ = settings.webhook_token


@pytest.mark.parametrize("url", ["", "ftp://receiver/x", "receiver/x", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="http or https URL"):
        Webhook(url)
