# Each target does its own set-up, in .venv, without sudo; a second run finds it done.
#
#   make demo PYTHON=python3.13                   another Python
#   make test TORCH_INDEX_URL=https://.../cpu     another source of torch

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX_URL ?= https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0
TORCHAUDIO ?= torchaudio==2.11.0

CLIP := demo/number.flac
RECIPE ?= recipes/ctc.yaml
PIP = $(VENV)/bin/python -m pip -qq --disable-pip-version-check

SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PROGRAMS = libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins \
  espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts \
  ffmpeg strace chromium chromium-driver mosquitto nodejs

export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-full test-quick lint format docs train base dev system clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: base  ## hear a recording as if it were a microphone (sets up what listening needs; no torch)
	@echo
	@echo "  $$ edgeseq listen --input $(CLIP)"
	@$(VENV)/bin/edgeseq listen --input $(CLIP)
	@echo
	@echo "That was a recording, through the path that a microphone takes. The words are:"
	@echo "  zero four one, three nine five, two eight seven six"
	@echo "Now say digits yourself:"
	@$(VENV)/bin/python -c "import sounddevice" 2>/dev/null || echo "  sudo apt install libportaudio2"
	@echo "  $(VENV)/bin/edgeseq listen"

test: lint  ## check everything: ruff, mypy, pytest (sets up torch and the tools, too)
	@$(VENV)/bin/python -m pytest -n 2 --dist worksteal

test-full: system test  ## install with apt what tests use besides Python, then the same: nothing is skipped for want of a program

test-quick: dev  ## run the tests that take seconds
	@$(VENV)/bin/python -m pytest -n 2 --dist worksteal -m "not slow"

lint: dev  ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

format: dev  ## let ruff put the code in order
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

system:  ## install PortAudio, a sound server, speech synthesizers, ffmpeg, Chromium, an MQTT broker and Node (Debian, Ubuntu)
	@command -v apt-get >/dev/null || { echo "make: there is no apt-get; install yourself: $(PROGRAMS)" >&2; exit 1; }
	@echo "set-up: $(words $(PROGRAMS)) packages with apt-get ..."
	@$(SUDO) apt-get -qq update
	@DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get -qq install -y --no-install-recommends $(PROGRAMS) >/dev/null

docs: dev  ## write the keys of recipes into docs/training.md
	@$(VENV)/bin/python tests/recipe_table.py docs/training.md

train: dev  ## train RECIPE, recipes/ctc.yaml by default (docs/training.md says how to bring its data)
	@$(VENV)/bin/edgeseq train $(RECIPE)

base: $(VENV)/.base  ## set up listening: .venv with numpy, onnxruntime and the like

dev: $(VENV)/.dev  ## set up all of it: torch, the training extra, the test tools

clean:  ## remove .venv and caches
	rm -rf "$(VENV)" build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# In turn: Python's age and width, the venv module, the venv.
$(VENV)/bin/pip:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: there is no $(PYTHON). Install it: sudo apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))" || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) --version); edgeseq needs Python 3.11 to 3.14." >&2; \
	  echo "  Name another one: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.maxsize < 2**32)" || { \
	  echo "make: $(PYTHON) is a 32-bit program, for which there is no onnxruntime; edgeseq needs a 64-bit system." >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments. Install what is missing: sudo apt install python3-venv" >&2; exit 1; }
	@echo "set-up: $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv "$(VENV)"

$(VENV)/.base: pyproject.toml | $(VENV)/bin/pip
	@echo "set-up: edgeseq and what listening needs (about 60 MB, a minute or less) ..."
	@$(PIP) install --editable .
	@touch $@

# A torch for processors alone, for one with CUDA is ten times larger. The probe looks whether PyTorch's index answers. Without their
# dependencies: torch's come with the tools, from where pip looks by itself; torchaudio must not bring another torch.
$(VENV)/.dev: pyproject.toml $(VENV)/.base
	@if $(VENV)/bin/python -c "$$PROBE" "$(TORCH_INDEX_URL)" 2>/dev/null; then \
	  echo "set-up: torch from $(TORCH_INDEX_URL) (about 200 MB) ..."; index="--index-url $(TORCH_INDEX_URL)"; \
	else \
	  echo "set-up: $(TORCH_INDEX_URL) cannot be reached; torch from where pip looks by itself ..."; index=""; \
	fi; \
	$(PIP) install $$index --no-deps "$(TORCH)" "$(TORCHAUDIO)"
	@echo "set-up: training and test tools ..."
	@$(PIP) install --editable ".[train,corpora,mlflow,wandb,serve,phrases,bench,dev]"
	@touch $@

define PROBE
import signal, sys, urllib.request
signal.alarm(6)  # also ends a search for the host's name that hangs
urllib.request.urlopen(sys.argv[1].rstrip("/") + "/torch/", timeout=5).close()
endef
export PROBE
