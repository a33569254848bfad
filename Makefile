# The two commands of the README are `make interop` and `make test`; `make help` lists the others.

VENV ?= .venv
PYTHON ?= python3
export VENV PYTHON
BIN := $(VENV)/bin
# The Scheme side. Without these the project works, and says which peers are absent.
CHICKEN_PACKAGES := gcc libc6-dev make chicken-bin libchicken-dev libsodium-dev

.DEFAULT_GOAL := help
.PHONY: help interop test coverage lint chicken5 chicken4-check base-image images setup-interop setup-test setup-dev clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

interop: setup-interop ## play every peer against every other, and show the matrix
	$(BIN)/bokbok-interop run $(ARGS)

test: setup-test ## pass the tests
	$(BIN)/python -m pytest $(ARGS)

coverage: setup-test ## the tests, with the coverage of each file
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

lint: setup-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chicken5: ## build our egg and its puppet with the CHICKEN 5 that is installed
	$(MAKE) -C chicken-reference

chicken4-check: setup-interop ## compile the egg with the CHICKEN 4 under CHICKEN4=/prefix, and play the matrix with it
	@test -n "$(CHICKEN4)" || { echo "make chicken4-check CHICKEN4=/prefix-of-an-installed-CHICKEN-4" >&2; exit 2; }
	$(MAKE) -C chicken-reference CHICKEN=4 PREFIX=$(CHICKEN4)
	$(BIN)/bokbok-interop run --peer chicken4=chicken-reference/build/chicken4/puppet $(ARGS)

base-image: ## make the Dockerfiles' base image, where the engine cannot pull it (root)
	tools/base-image

images: base-image ## build the images of the Python side and of CHICKEN 5
	DOCKER_BUILDKIT=0 docker build -q -t bokbok/python .
	DOCKER_BUILDKIT=0 docker build -q -t bokbok/chicken5 -f chicken-reference/debian.Dockerfile chicken-reference

setup-interop:
	@tools/setup interop $(CHICKEN_PACKAGES)

setup-test:
	@tools/setup test $(CHICKEN_PACKAGES)

setup-dev:
	@tools/setup dev

clean: ## remove what was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov
	$(MAKE) -C chicken-reference clean
