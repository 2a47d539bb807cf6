# dictwire. `make help` lists the targets.

.PHONY: help build demo test quick lint fuzz crash soak soak-store siege cluster cluster-bench simulate pysimulate schemathesis tlsscan pageload pageshots mutants bench peers wheels debs units image release generate clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

build: ## bin/dictwire, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/dictwire ./cmd/dictwire

demo: build ## the main job: dictionaries from real clients to a server that prints them
	scripts/demo

test: ## everything that must pass, with all set-up
	scripts/test

quick: ## build, vet, lint and short tests of what differs from main, and of what imports that
	scripts/quick

lint: ## gofumpt, go vet, golangci-lint
	scripts/test format vet lint

fuzz: ## every fuzz target for FUZZTIME (10m)
	FUZZTIME=$${FUZZTIME:-10m} FUZZBUDGET=86400 scripts/test fuzz

crash: ## 300 kills of real servers and clients under load, 5,000 losses of power; KILLS=n SEEDS=n FIRST=seed
	KILLS=$${KILLS:-300} SEEDS=$${SEEDS:-5000} CRASHBUDGET=86400 scripts/test crash

soak: ## for DURATION (30m), a server whose senders of all dialects and readers live through kills, restarts and cuts
	go test ./tests/soak -count 1 -timeout 0 -v -soak.duration $${DURATION:-30m}

soak-store: ## for DURATION (30m), a store that trims and rewrites, whose retained records are compared
	go test ./store/log -count 1 -timeout 0 -v -run '^TestSoak$$' -soak.duration $${DURATION:-30m}

siege: ## 2,000 hostile connections for DURATION (1m) beside honest ones; TLS=1 for all of it over TLS with tokens
	DURATION=$${DURATION:-1m} SLOWER=$(if $(TLS),20,3) TLS=$(TLS) SIEGEBUDGET=86400 scripts/test siege

cluster: ## 300 faults of NATS clusters and of the servers in front, under load, and 100,000 claims; FAULTS=n RECLAIMS=n
	FAULTS=$${FAULTS:-300} RECLAIMS=$${RECLAIMS:-100000} CLUSTERBUDGET=86400 scripts/test cluster

cluster-bench: ## a server in front of three nodes beside the broker itself, on this machine: ratios
	go test ./store/nats -count 1 -timeout 0 -v -run '^TestFigures$$' -figures

simulate: ## 50,000 simulations of the whole; SIMULATIONS=n FIRST=seed
	SIMULATIONS=$${SIMULATIONS:-50000} SIMULATEBUDGET=86400 scripts/test simulate

pysimulate: build ## 5,000 scenarios of the Python client; PYSEEDS=n PYFIRST=seed
	DICTWIRE=$$PWD/bin/dictwire PYTHONPATH=clients/python/src:clients/python PYSEEDS=$${PYSEEDS:-5000} \
		.tools/python/bin/python -W error -m unittest -v tests.test_simulate

schemathesis: build ## requests of schemathesis (PyPI) by the OpenAPI document; EXAMPLES=n
	scripts/schemathesis

tlsscan: build ## sslyze (PyPI) and testssl.sh (Debian) on a server with TLS
	scripts/tls-scan

pageload: ## the page in Chromium at 2,000 records a second for DURATION (10m)
	go test ./dialect/web -count 1 -timeout 0 -v -run '^TestPageLoad$$' -page.load $${DURATION:-10m} -page.wall

pageshots: ## pictures of all views of the page, light, dark and on a phone, in docs/img
	mkdir -p docs/img && go test ./dialect/web -count 1 -v -run '^TestPage$$/looks' -page.shots $$PWD/docs/img

mutants: ## broken promises, each of which the tests must find
	MUTANTS= MUTANTSBUDGET=900 scripts/test mutants

bench: ## the benchmarks beside their peers, and their ratios
	scripts/bench

peers: build ## dictwire beside Redis, JetStream and PostgreSQL, by one load generator; PEERS, CASES, ROUNDS
	scripts/peers

wheels: ## the Python client with the binary, for pip, into dist/
	scripts/wheels

debs: ## the deb and the rpm into dist/, each installed, upgraded and removed in a root of its own
	scripts/package-test deb
	scripts/package-test rpm

units: ## the deb and its units under a systemd of their own, in a container
	scripts/systemd-test

image: ## packaging/Dockerfile, built and run without Docker
	scripts/image-test

release: ## binaries for all systems, built twice, packages, SBOMs and checksums, into dist/; VERSION=v1.2.3 or the tag
	scripts/release $(VERSION)

generate: ## tables, man pages
	go generate ./...

clean: ## what was built
	rm -rf bin dist .tools
