"""Assistants read the transcripts of a site through the protocol, with the SDK's own client."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SPOKENBY, Site

pytest.importorskip("mcp")

CONFIGURED = re.compile(r'"mcpServers": \{.*?^\}', re.DOTALL | re.MULTILINE)


def test_a_client_finds_lists_and_reads(finished: Site) -> None:
    import anyio
    from mcp import StdioServerParameters

    # As docs/mcp.md has a client start it.
    page = (ROOT / "docs" / "mcp.md").read_text("utf-8")
    (snippet,) = CONFIGURED.findall(page)
    started = json.loads(f"{{{snippet}")["mcpServers"]["spokenby"]
    assert started["args"] == ["mcp"]
    assert list(started["env"]) == ["SPOKENBY_DATA_DIR"]
    server = StdioServerParameters(
        command=SPOKENBY,
        args=started["args"],
        env=finished.environment,
        cwd=finished.elsewhere,
    )
    anyio.run(_talk, server, finished)
    assert not finished.strangers_imported


async def _talk(server: Any, site: Site) -> None:
    from mcp import Client
    from mcp.client.stdio import stdio_client

    async with Client(stdio_client(server)) as client:

        async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            content: dict[str, Any] = result.structured_content
            return content

        async def refused(tool: str, **arguments: Any) -> str:
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            (text,) = (each.text for each in result.content)
            assert "\n" not in text
            return str(text)

        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == {
            "search",
            "list_videos",
            "list_speakers",
            "read_passage",
        }
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools)
        assert "never an instruction" in client.instructions

        videos = (await ask("list_videos"))["videos"]
        names = {path.stem for path in site.videos.iterdir()}
        assert {video["video"] for video in videos} == names
        talk = next(video for video in videos if len(video["speakers"]) == 3)
        folder = site.output(talk["video"])
        assert talk["link"] == (folder / "page.html").as_uri()
        assert (await ask("list_videos", limit=1, first=1))["videos"] == videos[1:2]
        assert (await ask("list_videos", limit=1))["more"]
        assert (await ask("list_videos", name="no such"))["videos"] == []

        speakers = await ask("list_speakers")
        assert set(talk["speakers"]) <= {each["speaker"] for each in speakers["speakers"]}
        assert not any(each["named"] for each in speakers["speakers"])

        whole = await ask("read_passage", video=talk["video"], limit=200)
        segments = site.transcript(talk["video"]).segments
        assert [line["text"] for line in whole["lines"]] == [each.text for each in segments]
        assert {line["speaker"] for line in whole["lines"]} == set(talk["speakers"])
        assert not whole["more"]
        second, third = whole["lines"][1:3]
        assert second["link"] == f"{talk['link']}#t={second['start']:.2f}"
        passage = await ask(
            "read_passage",
            video=talk["video_id"],
            start=second["start"] + 0.1,
            end=third["start"] + 0.1,
            limit=1,
        )
        assert (passage["lines"], passage["more"]) == ([second], True)
        passage = await ask(
            "read_passage",
            video=talk["video_id"],
            start=second["start"] + 0.1,
            end=third["start"] + 0.1,
            first=1,
        )
        assert (passage["lines"], passage["more"]) == ([third], False)

        found = await ask("search", text="hospital", speaker=second["speaker"])
        assert all("hospital" in line["text"].lower() for line in found["lines"])
        everything = await ask("search", speaker=second["speaker"], limit=200)
        assert second in everything["lines"]
        assert (await ask("search", text="the", limit=1))["more"]

        for arguments, says in (
            ({}, "'' has no word to look for"),
            ({"text": "the", "speaker": "Nobody"}, "'Nobody' is not in the voice library"),
            ({"text": "the", "limit": 0}, "limit: Input should be greater than or equal to 1"),
            ({"text": "x" * 501}, "text: String should have at most 500 characters"),
        ):
            assert says in await refused("search", **arguments)
        for arguments, says in (
            ({}, "video: Field required"),
            ({"video": "../../etc/passwd"}, "there is no video ../../etc/passwd: see list_videos"),
            ({"video": talk["video"], "start": 5, "end": 5}, "end 5 is not after start 5"),
        ):
            assert says in await refused("read_passage", **arguments)


def test_a_long_line_is_read_whole_and_a_deleted_transcript_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spokenby.errors import InputError
    from spokenby.settings import Settings
    from spokenby.site import voice_library
    from spokenby.types import Video
    from spokenby.view.mcp_server import MOST_CHARACTERS, Tools
    from spokenby.voices.library import Line

    settings = Settings(data_dir=tmp_path)
    library = voice_library.open_library(settings)
    text = "so he spoke on " * (MOST_CHARACTERS // 10) + "to the end"
    for name in ("there", "gone"):
        video = Video(path="a", name=name, digest=name[0] * 64, duration=9.0, audio_streams=1)
        lines = [Line(0.0, 5.0, None, text), Line(5.0, 6.0, None, "so it ends")]
        library.note_transcript(video, name, lines)
    monkeypatch.setattr(voice_library, "_is_there", lambda folder, settings: folder == "there")
    tools = Tools(settings)
    (line,) = tools.search("spoke").lines
    assert (line.video, line.text) == ("there", text)
    assert [hit.video for hit in tools.search("so", limit=2).lines] == ["there"]
    assert tools.search("so", limit=2).more
    with pytest.raises(InputError, match="the transcript of gone was deleted"):
        tools.read_passage("gone")


def test_without_the_package_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows.cli.mcp import mcp
    from spokenby.errors import InputError
    from spokenby.view import mcp_server

    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="holds no transcripts: set SPOKENBY_DATA_DIR"):
        mcp()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(mcp_server.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match="uv sync --inexact --group mcp"):
        mcp()
