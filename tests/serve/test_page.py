"""The web page: its WebSocket by a client, and itself in a real browser with a file for a microphone."""

import asyncio
import json
import re
import socket
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("onnx")
import aiohttp
import command_line
import soundfile
import tone_language as tones
from browser import accessibility_faults, browser, complaints, needs_browser

import edgeseq
from edgeseq.events import Final, Word
from edgeseq.output.subtitles import cues
from edgeseq.serve import page, tls
from edgeseq.serve.access import Access
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import Limits
from edgeseq.serve.pcm import to_pcm16
from edgeseq.serve.server import Security, Server

ROOT = Path(__file__).parent.parent.parent
NUMBER = ROOT / "demo/number.flac"
SAID = ["zero four one", "three nine five", "two eight seven six"]
HAS_MODEL = (ROOT / "models/digits-en/model.int8.onnx").is_file()
needs_model = pytest.mark.skipif(not HAS_MODEL, reason="models/digits-en is not there")
PHRASES = """intents:
  code: "{first} {second} {third}"
  number: "{first} {second} {third} {fourth}"
rules: {}
slots:
""" + "".join(
    f"  {name}: [zero, one, two, three, four, five, six, seven, eight, nine]\n"
    for name in ("first", "second", "third", "fourth")
)


# By a client that speaks the page's WebSocket.


@asynccontextmanager
async def served(recognizer, limits=Limits(), **kwargs):  # noqa: B008  # frozen
    """Serve a recognizer, and give the server with a client session at its address."""
    async with (
        Server(Context(Hub({"tones": recognizer}, limits)), {"http": "127.0.0.1:0"}, drain_seconds=0.1, **kwargs) as server,
        aiohttp.ClientSession(server.uris["http"]) as session,
    ):
        yield server, session


async def said(ws):
    """Messages until the server closes or has finished."""
    told = []
    while (message := await ws.receive(timeout=10)).type == aiohttp.WSMsgType.TEXT:
        told.append(json.loads(message.data))
        if told[-1]["type"] == "finished":
            break
    return told


async def speak(session, text, n_block, rate=tones.SAMPLE_RATE, **settings):
    async with session.ws_connect("/listen") as ws:
        await ws.send_json({"rate": rate, **settings})
        sound = to_pcm16(tones.say(text, rate))
        for first in range(0, len(sound), 2 * n_block):
            await ws.send_bytes(sound[first : first + 2 * n_block])
        await ws.send_json({"type": "finish"})
        return await said(ws)


def words(told):
    return [event["text"] for event in told if event["type"] == "final"]


@pytest.mark.parametrize("n_block", [1, 77, 320, 100_000])
def test_a_client_is_told_what_the_sound_says(tone_recognizer, n_block):
    async def run():
        async with served(tone_recognizer) as (_, session):
            return await speak(session, "hello zoo" if n_block > 1 else "a", n_block)

    told = asyncio.run(run())
    sound = np.round(tones.say("hello zoo" if n_block > 1 else "a") * 32768).clip(-32768, 32767).astype(np.float32) / 32768
    events, state = tone_recognizer.step(sound, tone_recognizer.init_state())
    expected = [json.loads(event.to_json()) for event in events + tone_recognizer.flush(state)[0]]
    assert told[0] == {"type": "ready", "model": "tones", "rate": 8000} and told[-1] == {"type": "finished"}
    assert [one for one in told[1:-1] if one["type"] != "heard"] == expected
    heard = [one["samples"] for one in told if one["type"] == "heard"]
    assert heard == sorted(heard) and heard[-1] == len(sound) and len(heard) == -(-len(sound) // n_block)


def test_clients_have_rates_and_phrases_of_their_own(tone_recognizer):
    phrases = "intents:\n  greet: hello {who}\nslots:\n  who: [zoo, abba]\n"

    async def run():
        async with served(tone_recognizer) as (_, session):
            return await asyncio.gather(
                speak(session, "hello zoo", 999, 44_100, phrases=phrases),
                speak(session, "zoo hello", 640, 8_000),
                speak(session, "zoo", 640, 48_000, model="tones"),
            )

    first, second, third = asyncio.run(run())
    final = next(event for event in first if event["type"] == "final")
    assert final["intent"] == "greet" and final["slots"] == {"who": "zoo"}
    assert (words(second), words(third)) == (["zoo hello"], ["zoo"])


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (["hello"], "the first message says what is sent"),
        ([b"\0\0"], "the first message says what is sent"),
        (["[1]"], "the first message says what is sent"),
        (["{}"], '"rate" is null'),
        (['{"rate": "8000"}'], '"rate" is "8000"'),
        (['{"rate": NaN}'], '"rate" is NaN'),
        (['{"rate": Infinity}'], '"rate" is Infinity'),
        (['{"rate": 1e300}'], "wanted 1000 to"),
        (['{"rate": 8000.5}'], '"rate" is 8000.5'),
        (['{"rate": true}'], '"rate" is true'),
        (['{"rate": 12}'], "12 Hz"),
        (['{"rate": 8000, "model": "/etc/passwd"}'], "there is no model '/etc/passwd' here"),
        (['{"rate": 8000, "model": ["tones"]}'], "are texts"),
        (['{"rate": 8000, "phrases": {}}'], "are texts"),
        (['{"rate": 8000}', b"OggS" + bytes(100)], "looks like Ogg"),
        (['{"rate": 8000}', "text"], "the only text behind the first"),
        (['{"rate": 8000}', '{"type": "finish me"}'], "the only text behind the first"),
        (["[" * 100_000], "the first message says what is sent"),
    ],
)
def test_what_is_wrong_is_told_and_the_connection_closed(tone_recognizer, messages, expected):
    async def run():
        async with served(tone_recognizer) as (server, session), session.ws_connect("/listen") as ws:
            for message in messages:
                await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_str(message))
            told = await said(ws)
            assert len(server.context.hub) == 0
            assert words(await speak(session, "zoo", 640)) == ["zoo"], "others are served"
            return told, ws.close_code

    told, code = asyncio.run(run())
    assert told[-1]["type"] == "error" and expected in told[-1]["message"] and not told[-1]["again"]
    assert code == aiohttp.WSCloseCode.POLICY_VIOLATION


def test_faults_of_phrases_are_told_with_their_places(tone_recognizer):
    async def run():
        limits = Limits(phrases_bytes=200)
        async with served(tone_recognizer, limits) as (_, session):
            faulty = "intents:\n  greet: hello {who\n  leave: '{whom}'\n"
            return await speak(session, "zoo", 640, phrases=faulty), await speak(session, "zoo", 640, phrases="#" * 300)

    faulty, large = asyncio.run(run())
    assert {"type": "error", "again": False}.items() <= faulty[-1].items()
    assert [(fault["line"], fault["column"]) for fault in faulty[-1]["faults"]] == [(2, 16), (3, 11)]
    assert "whom" in faulty[-1]["faults"][1]["message"]
    assert "200" in large[-1]["faults"][0]["message"] and not large[-1]["again"]


def test_limits_are_told_so_that_the_page_comes_again(tone_recognizer):
    async def run():
        limits = Limits(streams=1, idle_seconds=0.3, stream_seconds=1.0, message_bytes=4096)
        async with served(tone_recognizer, limits) as (server, session), session.ws_connect("/listen") as ws:
            await ws.send_json({"rate": 8000})
            assert (await ws.receive_json())["type"] == "ready"
            busy = await speak(session, "zoo", 640)
            idle = await said(ws)
            long = await speak(session, "hello zoo abba", 640)
            async with session.ws_connect("/listen") as giant:
                await giant.send_json({"rate": 8000})
                await giant.receive()
                await giant.send_bytes(bytes(10_000))
                await said(giant)
                return busy, idle, long, giant.close_code, len(server.context.hub)

    busy, idle, long, code, n_open = asyncio.run(run())
    for told, expected in ((busy, "takes no more"), (idle, "nothing came for 0.3 s"), (long, "longer than the 1 s")):
        assert told[-1]["type"] == "error" and told[-1]["again"] and expected in told[-1]["message"]
    assert code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG and n_open == 0


def test_a_server_that_is_stopped_tells_the_last_words(tone_recognizer):
    async def run():
        async with served(tone_recognizer) as (server, session), session.ws_connect("/listen") as ws:
            await ws.send_json({"rate": 8000})
            await ws.send_bytes(to_pcm16(tones.say("hello zoo")))
            while json.loads((await ws.receive()).data)["type"] != "heard":
                pass
            stopping = asyncio.create_task(server.__aexit__())
            told = await said(ws)
            await stopping
            return told, ws.close_code

    told, code = asyncio.run(run())
    assert [one["type"] for one in told if one["type"] != "partial"] == ["stopping", "final", "error"]
    assert words(told) == ["hello zoo"] and told[-1]["again"] and code == aiohttp.WSCloseCode.GOING_AWAY


def test_random_messages_break_nothing(tone_recognizer):
    random = np.random.default_rng(7)
    openings = ['{"rate": 8000}', '{"rate": 8000, "phrases": "intents: {a: b}"}', '{"rate":', "\0", "{}", '{"rate": -0.0}']

    async def one(session):
        async with session.ws_connect("/listen") as ws:
            await ws.send_str(openings[random.integers(len(openings))])
            for _ in range(random.integers(6)):
                if ws.closed:
                    break
                if random.random() < 0.7:
                    await ws.send_bytes(random.bytes(int(random.integers(3000))))
                else:
                    await ws.send_str(random.bytes(20).hex())
            if random.random() < 0.3:
                ws._response.connection.transport.abort()

    async def run():
        async with served(tone_recognizer) as (server, session):
            for _ in range(30):
                await asyncio.gather(*(one(session) for _ in range(10)), return_exceptions=True)
            await asyncio.sleep(0.2)
            assert len(server.context.hub) == 0
            return await speak(session, "hello", 640)

    assert words(asyncio.run(run())) == ["hello"]


def test_files_and_their_headers(tone_recognizer):
    async def run():
        async with served(tone_recognizer) as (_, session):
            seen = {}
            for path in ("/", *(f"/page/{one.name}" for one in page.FOLDER.iterdir()), "/listen/about"):
                async with session.get(path) as answer:
                    seen[path] = (answer.status, answer.headers.copy(), await answer.text())
            etag = seen["/"][1]["ETag"]
            async with session.get("/", headers={"If-None-Match": etag}) as again:
                assert again.status == 304 and await again.text() == ""
            for path in ("/page/none.js", "/page/..%2fpage.py", "/page/%2e%2e/page.py", "/page/"):
                async with session.get(path) as answer:
                    assert answer.status == 404, path
            return seen

    seen = asyncio.run(run())
    assert len(seen) > 10
    for path, (status, headers, _) in seen.items():
        assert status == 200, path
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "script-src" not in policy
        assert "microphone=(self)" in headers["Permissions-Policy"]
    assert seen["/page/main.js"][1]["Content-Type"] == "text/javascript; charset=utf-8"
    assert seen["/page/icon.svg"][1]["Content-Type"] == "image/svg+xml"
    about = json.loads(seen["/listen/about"][2])
    assert about["keeps_audio"] is False and about["fingerprint"] is None
    assert [(one["name"], one["rate"], one["decoder"]) for one in about["models"]] == [("tones", 8000, "greedy")]
    assert (about["models"][0]["understands"], about["models"][0]["example"]) == ("was trained on: none", "")


def test_the_page_asks_nobody_else_and_has_no_script_within():
    for path in page.FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)) == [], path.name
    index = (page.FOLDER / page.INDEX).read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>(.+?)</script>|\son\w+=|\sstyle=", index) == []
    for name in re.findall(r'(?:src|href)="page/([^"]+)"', index):
        assert (page.FOLDER / name).is_file(), name


def test_the_token_is_asked_for_sound_but_not_for_the_page(tone_recognizer):
    async def run():
        security = Security(Access(token="secret"))
        async with served(tone_recognizer, security=security) as (_, session):
            statuses = []
            for path in ("/", "/page/main.js", "/listen/about", "/listen/about?token=wrong", "/listen/about?token=secret"):
                async with session.get(path) as answer:
                    statuses.append(answer.status)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await session.ws_connect("/listen?token=wrong")
            async with session.ws_connect("/listen?token=secret") as ws:
                await ws.send_json({"rate": 8000})
                return statuses, await ws.receive_json()

    statuses, first = asyncio.run(run())
    assert statuses == [200, 200, 401, 401, 200] and first["type"] == "ready"


# In a browser.


@pytest.fixture(scope="module")
def digits():
    return edgeseq.load("digits-en")


@pytest.fixture(scope="module")
def microphone(tmp_path_factory):
    """What the microphone hears: the number, with half a second before it and two behind."""
    samples, rate = soundfile.read(NUMBER, dtype="float32")
    path = tmp_path_factory.mktemp("sound") / "number.wav"
    soundfile.write(path, np.concatenate([np.zeros(rate // 2), samples, np.zeros(2 * rate)]), rate, subtype="PCM_16")
    return path


@pytest.fixture
def driver(tmp_path, microphone):
    """A browser whose console must stay without errors."""
    with browser(tmp_path / "profile", microphone=microphone) as started:
        yield started
        assert complaints(started) == []


@contextmanager
def serving(recognizer, port=0, *, fingerprint=None, **kwargs):
    """Serve in a thread of its own; yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def start():
        context = Context(Hub({"digits-en": recognizer}), fingerprint)
        return await Server(context, {"http": f"127.0.0.1:{port}"}, drain_seconds=0.1, **kwargs).__aenter__()

    server = wait(start())
    try:
        yield server.uris["http"]
    finally:
        wait(server.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def at(driver, name):
    return driver.find_element("id", name)


def text_of(driver, name):
    return at(driver, name).get_attribute("textContent").strip()


def finals(driver):
    return texts(driver, "#said .text")


def texts(driver, selector):
    """What elements show, in one look: the page may replace them between two."""
    return driver.execute_script("return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", selector)


def wait_for(driver, condition, seconds=30.0):
    """Wait until something holds of the page, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, driver.find_element("tag name", "body").text
        time.sleep(0.05)
    return found


def open_page(driver, address):
    driver.get(address)
    wait_for(driver, lambda: text_of(driver, "privacy") or at(driver, "token-form").is_displayed())


def saved(driver, folder, form):
    """Press a button under Save, and read the file that comes."""
    driver.execute_script("document.getElementById('save-card').open = true")
    button = driver.find_element("css selector", f"[data-format={form}]")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)  # not under the bar at the bottom
    button.click()
    path = wait_for(driver, lambda: next(folder.glob(f"edgeseq-*.{form}"), None))
    return path.read_text(encoding="utf-8")


@pytest.mark.slow
@needs_browser
@needs_model
def test_ten_digits_through_the_microphone(driver, digits, tmp_path):
    with serving(digits) as address:
        open_page(driver, address)
        assert text_of(driver, "status") == "Not listening" and at(driver, "listen").is_enabled()
        assert "stays on this machine" in text_of(driver, "privacy") and "Nothing of it is kept" in text_of(driver, "privacy")
        assert text_of(driver, "model-about").startswith("Language en")
        at(driver, "listen").click()
        partials, unstable = [], []

        def heard():
            partials.append(text_of(driver, "saying"))
            unstable.extend(driver.find_elements("css selector", "#saying span:not(.stable)")[:1])
            return len(finals(driver)) == len(SAID)

        wait_for(driver, heard)
        assert finals(driver) == SAID
        assert {"zero", "three nine", "two eight seven"} & set(partials) and unstable
        assert re.fullmatch(r"\d+ ms", text_of(driver, "latency")) and re.fullmatch(r"\d+ ms", text_of(driver, "round-trip"))
        abouts = [one.text for one in driver.find_elements("css selector", "#said .about")]
        assert all(re.fullmatch(r"0:\d\d\.\d – 0:\d\d\.\d\n?\s*\d+\s%\ssure", about) for about in abouts), abouts
        assert at(driver, "listen").text == "Stop"
        at(driver, "listen").click()
        wait_for(driver, lambda: text_of(driver, "status") == "Not listening")
        assert int(text_of(driver, "time").split(":")[1]) >= 9, "seconds of sound"

        folder = tmp_path / "profile"
        assert saved(driver, folder, "txt").splitlines() == SAID
        events = [json.loads(line) for line in saved(driver, folder, "jsonl").splitlines()]
        assert [event["text"] for event in events] == SAID and all(event["confidence"] > 0.5 for event in events)
        assert abs(events[0]["start"] - 0.6) < 0.5 and events[-1]["end"] < 11.5
        results = [
            Final(one["text"], one["start"], one["end"], one["confidence"], tuple(Word(**word) for word in one["words"]))
            for one in events
        ]
        lines = [cue for result in results for cue in cues(result)]
        assert saved(driver, folder, "srt") == "".join(cue.to_srt(i) for i, cue in enumerate(lines, 1))
        at(driver, "clear").click()
        assert finals(driver) == [] and not driver.find_element("css selector", "[data-format=txt]").is_enabled()


@needs_browser
@needs_model
def test_by_keyboard_alone(driver, digits):
    from selenium.webdriver import ActionChains, Keys

    def press(*keys):
        ActionChains(driver).send_keys(*keys).perform()

    def focused():
        return driver.execute_script("return document.activeElement.id || document.activeElement.textContent.trim()")

    with serving(digits) as address:
        open_page(driver, address)
        order = []
        while "listen" not in order:
            press(Keys.TAB)
            order.append(focused())
            assert len(order) < 20, order
            outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{order[-1]} shows no focus"
        assert order.index("Phrases") < order.index("listen"), order
        press(Keys.ENTER)
        wait_for(driver, lambda: finals(driver)[:1] == SAID[:1])
        assert focused() == "listen", "the focus stays"
        press(Keys.SPACE)
        wait_for(driver, lambda: text_of(driver, "status") == "Not listening")
        assert focused() == "listen"
        assert "alert" not in text_of(driver, "notice")


@contextmanager
def command(port):
    """Run `edgeseq serve`, and kill it without a word."""
    process = command_line.start("serve", "--http", f"127.0.0.1:{port}")
    try:
        while "listening at" not in (line := process.stderr.readline()):
            assert line, "edgeseq serve has ended"
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def stopped_gracefully(port):
    with serving(edgeseq.load("digits-en"), port):
        yield


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.slow
@needs_browser
@needs_model
@pytest.mark.parametrize("server", [command, stopped_gracefully], ids=["killed", "stopped"])
def test_a_server_that_goes_and_comes_back_loses_no_word(tmp_path, microphone, server):
    port = free_port()
    with browser(tmp_path / "profile", microphone=microphone) as driver:
        with server(port):
            open_page(driver, f"http://127.0.0.1:{port}")
            at(driver, "listen").click()
            wait_for(driver, lambda: "three" in text_of(driver, "saying"))
        wait_for(driver, lambda: text_of(driver, "status").startswith("Connection lost"))
        time.sleep(1.0)
        with server(port):
            wait_for(driver, lambda: text_of(driver, "status") == "Listening")
            wait_for(driver, lambda: len(finals(driver)) == len(SAID))
            assert finals(driver) == SAID
            assert driver.find_elements("css selector", "#said .gap") == []
            at(driver, "listen").click()
            wait_for(driver, lambda: text_of(driver, "status") == "Not listening")
            times = [json.loads(line)["end"] for line in saved(driver, tmp_path / "profile", "jsonl").splitlines()]
            assert times == sorted(times) and 7 < times[-1] < 11.5, "time went on"


@pytest.mark.slow
@needs_browser
@needs_model
def test_a_server_that_does_not_come_back_is_told_of(tmp_path, microphone, digits):
    with browser(tmp_path / "profile", microphone=microphone) as driver:
        with serving(digits) as address:
            open_page(driver, address)
            at(driver, "listen").click()
            wait_for(driver, lambda: "three" in text_of(driver, "saying"))
        wait_for(driver, lambda: text_of(driver, "status").startswith("Connection lost"))
        at(driver, "listen").click()
        wait_for(driver, lambda: text_of(driver, "status") == "Not listening")
        assert finals(driver)[0] == SAID[0] and finals(driver)[1].startswith("three"), "what it told at last stays"
        assert "did not answer any more" in driver.find_element("css selector", "#said .gap").text


@needs_browser
@needs_model
def test_level_and_clipping(tmp_path, digits):
    rate, seconds = 48_000, np.arange(2 * 48_000) / 48_000
    tone = np.sin(2 * np.pi * 440 * seconds)
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, np.concatenate([0.1 * tone, np.clip(3 * tone, -1, 1), 0 * tone]), rate, subtype="PCM_16")
    with browser(tmp_path / "profile", microphone=loud) as driver, serving(digits) as address:
        open_page(driver, address)
        level = lambda: float(at(driver, "meter").get_attribute("aria-valuenow"))  # noqa: E731
        assert level() == -60
        at(driver, "listen").click()
        wait_for(driver, lambda: abs(level() + 20) <= 1)
        assert text_of(driver, "level-hint") == ""
        wait_for(driver, lambda: text_of(driver, "level-hint").startswith("Too loud"))
        assert "clipped" in at(driver, "meter").get_attribute("class")
        wait_for(driver, lambda: -1 <= level() <= 0)
        wait_for(driver, lambda: not text_of(driver, "level-hint").startswith("Too loud"))


@needs_browser
@needs_model
def test_what_waited_too_long_for_a_server_is_told_as_a_gap(driver, digits):
    samples = np.round(soundfile.read(NUMBER, dtype="float32")[0] * 32767).astype(int).tolist()
    script = """
        const [address, samples, done] = arguments;
        import("/page/stream.js").then(async ({ Stream }) => {
          const events = [];
          const nothing = () => {};
          const on = { ready: nothing, heard: nothing, state: nothing, error: done, event: (event) => events.push(event) };
          const stream = new Stream({ address, rate: 16000, settings: {}, on });
          for (let i = 0; i < 50; i += 1) stream.send(new Int16Array(16000)); // before there can be a connection
          stream.send(Int16Array.from(samples));
          await stream.finish();
          done(events.filter(({ type }) => type !== "partial"));
        });
    """
    with serving(digits) as address:
        open_page(driver, address)
        driver.set_script_timeout(30)
        events = driver.execute_async_script(script, f"{address.replace('http', 'ws')}/listen", samples)
    assert [event["type"] for event in events] == ["gap", "final", "final", "final"]
    assert events[0]["start"] == 0 and 28 <= events[0]["end"] <= 30.2, "30 s are kept"
    assert [event["text"] for event in events[1:]] == SAID
    assert 50.0 < events[1]["start"] < 50.5 and events[-1]["words"][-1]["end"] == events[-1]["end"] < 59.3


@pytest.mark.slow
@needs_browser
@needs_model
def test_a_microphone_that_goes_is_waited_for(driver, digits):
    with serving(digits) as address:
        open_page(driver, address)
        driver.execute_script("""
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            let isThere = true;
            navigator.mediaDevices.getUserMedia = async (wanted) => {
              if (!isThere) throw new DOMException("", "NotFoundError");
              const media = await ask(wanted);
              window.unplug = () => { isThere = false; media.getTracks()[0].dispatchEvent(new Event("ended")); };
              return media;
            };
            window.plugIn = () => { isThere = true; };
        """)
        at(driver, "listen").click()
        wait_for(driver, lambda: finals(driver) == SAID[:1])
        driver.execute_script("unplug()")
        wait_for(driver, lambda: "microphone has gone" in text_of(driver, "status"))
        time.sleep(1.5)
        driver.execute_script("plugIn()")
        wait_for(driver, lambda: text_of(driver, "status") == "Listening")
        wait_for(driver, lambda: finals(driver).count(SAID[0]) == 2)  # the file is spoken from its beginning
        at(driver, "listen").click()
        wait_for(driver, lambda: text_of(driver, "status") == "Not listening")


@needs_browser
@needs_model
def test_a_recording_and_phrases(driver, digits, tmp_path):
    with serving(digits) as address:
        open_page(driver, address)
        driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        at(driver, "file").send_keys(str(NUMBER))
        wait_for(driver, lambda: len(finals(driver)) == len(SAID) and text_of(driver, "status") == "Not listening")
        assert finals(driver) == SAID

        at(driver, "phrases").send_keys(PHRASES.replace("{second} {third}", "{secund} {third", 1))
        at(driver, "phrases-check").click()
        fault = wait_for(driver, lambda: driver.find_elements("css selector", "#phrases-faults button"))[0]
        assert fault.text.startswith("Line 2, column ") and at(driver, "phrases").get_attribute("aria-invalid") is not None
        assert driver.switch_to.active_element == at(driver, "phrases")
        line = driver.execute_script("const b = arguments[0]; return b.value.slice(0, b.selectionStart)", at(driver, "phrases"))
        assert line.count("\n") == 1 and line.endswith('"{first} ')
        assert "secund" in fault.text

        at(driver, "phrases").clear()
        at(driver, "phrases").send_keys(PHRASES)
        at(driver, "phrases-check").click()
        wait_for(driver, lambda: text_of(driver, "phrases-faults") == "No faults.")
        at(driver, "file").send_keys(str(NUMBER))
        wait_for(driver, lambda: len(driver.find_elements("css selector", "#said .meaning")) == len(SAID))
        assert finals(driver) == SAID
        meaning = driver.find_elements("css selector", "#said .meaning")[0].text.split()
        assert meaning == ["intent", "code", "first", "zero", "second", "four", "third", "one"]

        broken = tmp_path / "broken.wav"
        broken.write_bytes(b"RIFF of a kind")
        wait_for(driver, lambda: at(driver, "file").is_enabled())
        at(driver, "file").send_keys(str(broken))
        wait_for(driver, lambda: "cannot open broken.wav as sound" in text_of(driver, "notice"))


@needs_browser
@needs_model
def test_its_own_example_works_with_the_model_that_runs(driver, digits):
    with serving(digits) as address:
        open_page(driver, address)
        assert text_of(driver, "model-understands").startswith("Was trained on: Free Spoken Digit Dataset")
        driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        for button in ("phrases-example", "phrases-check"):
            driver.execute_script("arguments[0].click()", at(driver, button))  # the bar at the bottom may be above it
        wait_for(driver, lambda: text_of(driver, "phrases-faults") == "No faults.")
        at(driver, "file").send_keys(str(NUMBER))
        wait_for(driver, lambda: len(texts(driver, "#said .meaning")) == len(SAID))
        meanings = [text.split() for text in texts(driver, "#said .meaning")]
        assert [meaning[:4] for meaning in meanings] == [
            ["intent", "short", "first", "zero"],
            ["intent", "short", "first", "three"],
            ["intent", "long", "first", "two"],
        ]


@needs_browser
@needs_model
def test_over_plain_http_it_says_why_there_is_no_microphone(tmp_path, digits):
    security = Security(Access(names=frozenset({"board.test"})))
    with (
        browser(tmp_path / "profile", "--host-resolver-rules=MAP board.test 127.0.0.1") as driver,
        serving(digits, security=security) as address,
    ):
        open_page(driver, address.replace("127.0.0.1", "board.test"))
        notice = text_of(driver, "notice")
        assert "plain http" in notice and "--tls self-signed" in notice and "https://board.test:" in notice
        assert not at(driver, "listen").is_enabled() and at(driver, "notice").is_displayed()
        assert "goes to board.test" in text_of(driver, "privacy") and "not encrypted" in text_of(driver, "privacy")
        at(driver, "file").send_keys(str(NUMBER))
        wait_for(driver, lambda: finals(driver) == SAID)
        assert complaints(driver) == []


@needs_browser
@needs_model
def test_https_with_a_certificate_made_here_and_a_token(tmp_path, microphone, digits):
    certificate = tls.find([tls.SELF_SIGNED], tmp_path / "tls")
    security = Security(Access(token="secret", names=frozenset({"board.test"})), tls=tls.make_context(certificate))
    flags = ("--host-resolver-rules=MAP board.test 127.0.0.1", "--ignore-certificate-errors")
    with (
        browser(tmp_path / "profile", *flags, microphone=microphone) as driver,
        serving(digits, security=security, fingerprint=certificate.fingerprint) as address,
    ):
        address = address.replace("127.0.0.1", "board.test")
        assert address.startswith("https://")
        open_page(driver, address)
        assert at(driver, "token-form").is_displayed() and driver.switch_to.active_element == at(driver, "token")
        at(driver, "token").send_keys("wrong\n")
        wait_for(driver, lambda: "not this server" in text_of(driver, "notice"))
        open_page(driver, f"{address}/?token=secret")
        assert driver.current_url == f"{address}/", "the token is taken out of the address bar"
        assert not at(driver, "token-form").is_displayed()
        assert text_of(driver, "fingerprint") == certificate.fingerprint
        assert "(encrypted on the way)" in text_of(driver, "privacy")
        driver.refresh()
        wait_for(driver, lambda: at(driver, "listen").is_enabled())
        at(driver, "listen").click()
        wait_for(driver, lambda: finals(driver)[:1] == SAID[:1])


@needs_browser
@needs_model
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_by_the_rules_of_axe(driver, digits, scheme):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    with serving(digits) as address:
        open_page(driver, address)
        assert accessibility_faults(driver) == []
        at(driver, "listen").click()
        wait_for(driver, lambda: text_of(driver, "saying"))
        assert accessibility_faults(driver) == [], "while it listens"
        at(driver, "listen").click()
        wait_for(driver, lambda: text_of(driver, "status") == "Not listening")
        driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        at(driver, "phrases").send_keys(PHRASES)
        at(driver, "file").send_keys(str(NUMBER))
        wait_for(driver, lambda: len(finals(driver)) == len(SAID))
        at(driver, "phrases").send_keys("nonsense")
        at(driver, "phrases-check").click()
        wait_for(driver, lambda: driver.find_elements("css selector", "#phrases-faults button"))
        assert accessibility_faults(driver) == []
        metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert accessibility_faults(driver) == []
        wide = driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 360, "a phone need not scroll sideways"
        button = at(driver, "listen").rect
        assert button["width"] >= 300 and button["height"] >= 60
