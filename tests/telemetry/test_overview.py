from __future__ import annotations

from spokenby.progress import Step, VideoEnded, VideoPlanned, VideosFound
from spokenby.telemetry.overview import Overview, about, names

STAGES = ("extract", "speech", "diarize", "embed", "transcribe", "merge")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def five_videos() -> tuple[Overview, Clock]:
    clock = Clock()
    overview = Overview(clock)
    overview.note(VideosFound(tuple(f"/v/{n}.mp4" for n in range(5)), (1000,) * 5))
    return overview, clock


def run_stage(overview: Overview, clock: Clock, video: str, stage: str, seconds: float) -> None:
    overview.note(Step(video, stage, "running", 0.0))
    clock.now += seconds
    overview.note(Step(video, stage, "done", 1.0))


def test_before_videos_are_found_nothing_is_counted() -> None:
    assert Overview().summary() == "looking for videos"


def test_time_left_is_not_guessed_before_the_long_stages_have_shown_their_rate() -> None:
    overview, clock = five_videos()
    assert overview.summary() == "0 of 5 done, time left not known yet"
    overview.note(VideoPlanned("/v/0.mp4", 600.0, STAGES))
    run_stage(overview, clock, "/v/0.mp4", "extract", 5)
    run_stage(overview, clock, "/v/0.mp4", "diarize", 50)
    overview.note(Step("/v/0.mp4", "transcribe", "running", 0.0))
    assert overview.seconds_left() is None
    clock.now += 50
    overview.note(Step("/v/0.mp4", "transcribe", "running", 0.5))
    # A video takes 5 + 50 + 100 s, one after the other; 50 s of this one and four more are left.
    left = overview.seconds_left()
    assert left is not None
    assert abs(left - (50 + 4 * 155)) < 1
    assert overview.summary() == "0 of 5 done, about 11 min left"


def test_time_left_comes_true() -> None:
    overview, clock = five_videos()
    promised = []
    for number in range(5):
        path = f"/v/{number}.mp4"
        overview.note(VideoPlanned(path, 600.0, STAGES))
        for stage, seconds in (("extract", 5), ("diarize", 50), ("transcribe", 100), ("merge", 1)):
            run_stage(overview, clock, path, stage, seconds)
            left = overview.seconds_left()
            if left is not None:
                promised.append(clock.now + left)
        overview.note(VideoEnded(path, "done", "/t", "abcdef0123"))
    assert len(promised) > 15
    assert all(abs(end - clock.now) < 0.05 * clock.now for end in promised)
    assert overview.summary() == "5 of 5 done"


def test_stages_side_by_side_share_the_time() -> None:
    overview, clock = five_videos()
    for path in ("/v/0.mp4", "/v/1.mp4"):
        overview.note(VideoPlanned(path, 600.0, ("diarize", "transcribe")))
    run_stage(overview, clock, "/v/0.mp4", "diarize", 100)
    overview.note(Step("/v/0.mp4", "transcribe", "running", 0.0))
    overview.note(Step("/v/1.mp4", "diarize", "running", 0.0))
    clock.now += 100
    overview.note(Step("/v/0.mp4", "transcribe", "done", 1.0))
    overview.note(Step("/v/1.mp4", "diarize", "done", 1.0))
    # 300 s of work in 200 s; 700 s are left.
    assert overview.seconds_left() == 700 * 200 / 300


def test_percent_never_runs_backwards() -> None:
    overview, clock = five_videos()
    overview.note(VideoPlanned("/v/0.mp4", 600.0, STAGES))
    seen = []
    for stage in STAGES:
        for step in range(5):
            overview.note(Step("/v/0.mp4", stage, "running", step / 5))
            clock.now += 1
            seen.append(overview.videos()[0].fraction)
        overview.note(Step("/v/0.mp4", stage, "done", 1.0))
    assert seen == sorted(seen)
    assert overview.videos()[0].fraction == 1.0


def test_a_stage_that_waits_in_its_midst_keeps_what_it_had() -> None:
    """Speech waits for the GPU after voice activity detection."""
    overview, clock = five_videos()
    overview.note(VideoPlanned("/v/0.mp4", 600.0, ("speech", "diarize", "transcribe")))
    overview.note(Step("/v/0.mp4", "speech", "running", 0.0))
    clock.now += 10
    overview.note(Step("/v/0.mp4", "speech", "running", 0.3))
    before = overview.videos()[0].fraction
    overview.note(Step("/v/0.mp4", "speech", "waiting", note="speech waits for the GPU"))
    assert overview.videos()[0].fraction == before
    clock.now += 30
    overview.note(Step("/v/0.mp4", "speech", "running", 0.4))
    clock.now += 10
    overview.note(Step("/v/0.mp4", "speech", "done", 1.0))
    run_stage(overview, clock, "/v/0.mp4", "diarize", 50)
    run_stage(overview, clock, "/v/0.mp4", "transcribe", 100)
    # 200 s of a video in all: four more are left.
    assert overview.seconds_left() == 4 * 200


def test_reading_a_file_ahead_does_not_make_it_slow() -> None:
    overview, clock = five_videos()
    run_stage(overview, clock, "/v/0.mp4", "inspect", 1)
    clock.now += 1000  # other videos are at work
    overview.note(VideoPlanned("/v/0.mp4", 600.0, ("diarize", "transcribe")))
    run_stage(overview, clock, "/v/0.mp4", "diarize", 30)
    run_stage(overview, clock, "/v/0.mp4", "transcribe", 30)
    assert overview.videos()[0].speed == 600 / 60


def test_a_row_says_what_is_at_work_and_what_is_waited_for() -> None:
    overview, clock = five_videos()
    overview.note(VideoPlanned("/v/0.mp4", 600.0, STAGES))
    overview.note(VideoPlanned("/v/1.mp4", 600.0, STAGES))
    overview.note(Step("/v/0.mp4", "diarize", "running", 0.0))
    clock.now += 30
    overview.note(Step("/v/0.mp4", "diarize", "running", 0.5))
    overview.note(Step("/v/1.mp4", "diarize", "waiting", note="diarize waits for the GPU"))
    overview.note(Step("/v/2.mp4", "wait", "waiting", note="waiting for another run of it"))
    overview.note(VideoEnded("/v/3.mp4", "failed", "inspect: no sound", "0123456789"))
    rows = {row.video[3]: row for row in overview.videos()}
    assert (rows["0"].state, rows["0"].detail) == ("running", "diarize 50%")
    assert rows["0"].speed == rows["0"].fraction * 600 / 30
    assert (rows["1"].state, rows["1"].detail) == ("waiting", "diarize waits for the GPU")
    assert (rows["2"].state, rows["2"].detail) == ("waiting", "waiting for another run of it")
    assert (rows["3"].state, rows["3"].note) == ("failed", "inspect: no sound")
    assert (rows["4"].state, rows["4"].detail) == ("waiting", "waits for its turn")
    assert overview.summary() == "0 of 5 done, 1 failed, time left not known yet"


def test_rough_times() -> None:
    said = [about(seconds) for seconds in (3, 44, 70, 725, 3600, 5000)]
    assert said == [
        "about 10 s",
        "about 40 s",
        "about 1 min",
        "about 12 min",
        "about 1 h",
        "about 1 h 25 min",
    ]


def test_files_of_one_name_are_told_apart() -> None:
    assert names(["/a/talk.mp4", "/b/talk.mp4", "/b/other.mp4"]) == {
        "/a/talk.mp4": "/a/talk.mp4",
        "/b/talk.mp4": "/b/talk.mp4",
        "/b/other.mp4": "other.mp4",
    }
