"""The console shows what the gateway did, and nobody's data."""

from __future__ import annotations

from tests.unit.core.chat_server import Reply, completion

from .conftest import Start


def test_the_page_shows_chats_and_their_cost(start: Start) -> None:
    now = [completion("<b>打 13812345678</b>")]
    with start(lambda body, n: now[0], price_prompt=1e5) as gateway:
        page = "/console/gateway"
        assert gateway.client.get(page, follow_redirects=False).status_code == 303
        gateway.client.post("/console/sign-in", data={"key": gateway.key}, follow_redirects=False)
        assert "POST /v1/chat/completions" in gateway.client.get(page).text
        for _time in range(2):
            assert gateway.chat("我的邮箱 wang.xm@example.org", temperature=0).status_code == 200
        now[0] = Reply(500)
        gateway.chat("again")
        gateway.rows(3)
        text = gateway.client.get(page).text
        assert gateway.upstream.url in text
        assert "wang.xm" not in text
        assert "13812345678" not in text
        assert "我的邮箱 [EMAIL]" in text
        assert "&lt;b&gt;打 [MOBILE]&lt;/b&gt;" in text
        assert "upstream_failed" in text
        cells = [line.strip() for line in text.split("</thead>")[1].splitlines() if "class" in line]
        metrics = gateway.client.get("/metrics").text
        for outcome in ("answered", "cached", "failed"):
            assert f'feilun_gateway_chats_total{{outcome="{outcome}"}} 1.0' in metrics
        assert 'feilun_gateway_tokens_total{kind="prompt"} 10.0' in metrics
        assert "feilun_gateway_cost_total 1.0" in metrics
        told = [cell.split(">")[1].split("<")[0] for cell in cells[:6]]
        assert told == ["3", "1", "1", "0", "15", "1"]


def test_a_service_with_a_gateway_alone_is_ready(start: Start) -> None:
    from feilun.service.live import Live

    with start(lambda body, n: completion("ja")) as gateway:
        live = gateway.client.app.state.service.live  # type: ignore[attr-defined]
        assert isinstance(live, Live)
        live.engine._loaded = None
        assert gateway.client.get("/readyz").status_code == 200
        assert gateway.chat("hi").status_code == 200
        live.draining = True
        assert gateway.client.get("/readyz").status_code == 503
        live.draining = False
