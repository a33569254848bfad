# The two commands of the README are `make interop` and `make test`; `make help` lists the others.

VENV ?= .venv
PYTHON ?= python3
export VENV PYTHON
BIN := $(VENV)/bin
# The Scheme side. Without these the project works, and says which peers are absent.
CHICKEN_PACKAGES := gcc libc6-dev make chicken-bin libchicken-dev libsodium-dev
# The page of results is tested in a real browser, the recipe for HAProxy with it, a shared memory with Redis,
# users from a database with PostgreSQL, and instructions are counted with valgrind. Without them those tests are skipped, and say so.
TEST_PACKAGES := $(CHICKEN_PACKAGES) chromium haproxy postgresql redis-server valgrind

.DEFAULT_GOAL := help
.PHONY: help interop test bench coverage lint docs release-check chicken5 chicken4-check chicken4-image real-egg base-image images fleet-image stand-in-images setup-interop setup-test setup-bench setup-dev setup-docs setup-release clean fuzz soak native

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

interop: setup-interop ## play every peer against every other, and show the matrix
	$(BIN)/bokbok-interop run $(ARGS)

test: setup-test ## run the tests
	$(BIN)/python -m pytest $(ARGS)

bench: setup-bench ## measure the speed compared with other libraries, and write docs/speed.md (ARGS=--quick: only a trial)
	$(BIN)/python bench/speed.py $(ARGS)

coverage: setup-test ## run the tests, with the coverage of each file
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

fuzz: setup-test ## let a fuzzer choose bytes for every reader (SECONDS=600 of each; ARGS="--keep": keep what reaches new code)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(ARGS)

soak: setup-test ## good clients beside a hostile crowd, both front ends (SECONDS=600 of each; ARGS="--crowd 2000")
	$(BIN)/python bench/soak.py --seconds $(or $(SECONDS),600) $(ARGS)

lint: setup-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

SITE := .build/site

docs: setup-docs ## build the documentation site in .build/site, and follow every link of it
	rm -rf $(SITE)
	$(BIN)/python -m sphinx -q -W --keep-going -j 2 -c docs . $(SITE)
	$(BIN)/python docs/_site/check_links.py $(SITE)
	@echo "open $(SITE)/index.html"

release-check: setup-release ## build the wheel and the sdist, check them, and try the wheel with each installed Python
	tools/check-release $(ARGS)

chicken5: ## build our egg and its puppet with the CHICKEN 5 that is installed
	$(MAKE) -C chicken-reference

# An installed CHICKEN 4: its prefix, absolute, since recipes work in other folders.
CHICKEN4_HOME = $(abspath $(CHICKEN4))
NEEDS_CHICKEN4 = test "$(words $(CHICKEN4))" = 1 && test -x "$(CHICKEN4_HOME)/bin/csc" \
    || { echo "usage: make $@ CHICKEN4=/prefix-of-a-CHICKEN-4 (its bin/ holds csc; no spaces in it)" >&2; exit 2; }

# EGGS=none takes the stand-ins whatever eggs that CHICKEN has. A matrix that fails does not keep the tests from running.
chicken4-check: setup-test ## compile the egg with the CHICKEN 4 under CHICKEN4=/prefix, play the matrix with it, run its tests
	@$(NEEDS_CHICKEN4)
	$(MAKE) -C chicken-reference CHICKEN=4 PREFIX=$(CHICKEN4_HOME)
	status=0; \
	$(BIN)/bokbok-interop run --peer chicken4=chicken-reference/build/chicken4/puppet $(ARGS) || status=1; \
	CHICKEN4=$(CHICKEN4_HOME) $(BIN)/python -m pytest tests/chicken || status=1; \
	exit $$status

chicken4-image: ## build the image of CHICKEN 4 from the prefix CHICKEN4=/prefix, with the eggs that are installed there
	@$(NEEDS_CHICKEN4)
	rm -rf .build/chicken4 && mkdir -p .build && cp -r chicken-reference .build/chicken4
	rm -rf .build/chicken4/build && cp -a $(CHICKEN4_HOME) .build/chicken4/chicken4-prefix
	status=0; \
	DOCKER_BUILDKIT=0 docker build --build-arg EGGS= --build-arg CHICKEN_HOME=$(CHICKEN4_HOME) --target chicken4 \
	    -t bokbok/chicken4 .build/chicken4 || status=1; \
	rm -rf .build/chicken4; \
	exit $$status

# EGG is an image, the command of a puppet or a server's address, where the image is not to be built.
EGG ?=
real-egg: setup-interop ## meet the real egg: its image, its format, the matrix, and a folder to send (EGG=IMAGE|ADDRESS: another)
	@$(if $(EGG),:,tools/base-image)
	$(if $(EGG),@:,DOCKER_BUILDKIT=0 docker build --target chicken4-egg -t bokbok/chicken4-egg chicken-reference)
	$(BIN)/bokbok-interop meet $(or $(EGG),bokbok/chicken4-egg) $(ARGS)

base-image: ## make the Dockerfiles' base image, where the engine cannot pull it (root)
	tools/base-image

images: base-image ## build the images of the Python side and of CHICKEN 5
	DOCKER_BUILDKIT=0 docker build -q -t bokbok/python .
	DOCKER_BUILDKIT=0 docker build -q -t bokbok/chicken5 -f chicken-reference/debian.Dockerfile chicken-reference

fleet-image: base-image ## build the image of the Python side with Dask, for the workers of `run --scheduler`
	DOCKER_BUILDKIT=0 docker build -q --build-arg EXTRAS=interop,fleet -t bokbok/fleet .

stand-in-images: setup-interop base-image ## build the images of the stand-in eggs, with which the day of the real egg is rehearsed
	$(BIN)/python -m tests.support.stand_in_eggs

setup-interop:
	@tools/setup interop $(CHICKEN_PACKAGES)

setup-test:
	@tools/setup test $(TEST_PACKAGES)

setup-bench:
	@tools/setup bench gcc libc6-dev libsodium-dev

setup-dev:
	@tools/setup dev

setup-docs:
	@tools/setup docs

setup-release:
	@tools/setup release

native: setup-test ## run the accelerator's own tests; setup-test has compiled it into the virtual environment
	cargo test --locked --manifest-path native/Cargo.toml

clean: ## remove what was built
	rm -rf $(VENV) build dist native/target .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov
	$(MAKE) -C chicken-reference clean
