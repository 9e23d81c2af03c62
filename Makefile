# The ways to work on usher. "make test" is the one that CI runs.

GO       ?= go
FUZZTIME ?= 60s
# How long one package's tests may take, before they are taken for hanging.
TESTTIME ?= 19m

golangci    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
govulncheck := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# How many packages' tests run at a time: those with fleets in them mostly wait.
PACKAGES ?= $(shell expr $$(nproc) + 1)
# How many tests of a package that may run beside others do: they wait for servers,
# probes and leases most of the time.
PARALLEL ?= $(shell expr $$(nproc) \* 2)

.PHONY: help
help: ## say what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: ## build bin/usher
	$(GO) build -o bin/usher ./cmd/usher

.PHONY: deb
deb: ## build a Debian package into bin/
	GO='$(GO)' cmd/packaging/build bin

.PHONY: test
test: deps check ## install what the tests need, then check and test everything
	USHER_REQUIRE_REAL=1 CGO_ENABLED=1 $(GO) test -race -shuffle=on -p $(PACKAGES) -parallel $(PARALLEL) -timeout $(TESTTIME) ./...
	$(GO) test -timeout $(TESTTIME) ./cluster/sim # has no goroutines: all of it, at full speed

.PHONY: test-long
test-long: deps ## also the tests that take minutes, three times over
	.ci/install-debian debootstrap lintian
	USHER_REQUIRE_REAL=1 USHER_LONG=1 CGO_ENABLED=1 $(GO) test -race -shuffle=on -count 3 -timeout 2h ./...
	USHER_E2E_PATH=copy USHER_REQUIRE_REAL=1 CGO_ENABLED=1 $(GO) test -count 1 -race -shuffle=on -timeout $(TESTTIME) ./cmd/usher

# Partitions that heal after two hours: mostly waiting.
.PHONY: test-hours
test-hours: deps ## the tests that take hours, once
	USHER_REQUIRE_REAL=1 USHER_HOURS=1 $(GO) test -v -count 1 -timeout 3h -run TwoHours ./cmd/usher

.PHONY: fuzz
fuzz: ## run every fuzz target of every package for FUZZTIME each
	GO='$(GO)' .ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## compare usher with its peers, for an hour: see bench/README.md
	$(GO) run ./bench run

.PHONY: bench-setup
bench-setup: ## install the peers that usher is compared with, and what looks into them
	.ci/install-debian haproxy nginx libnginx-mod-mail libnginx-mod-stream dovecot-imapd dovecot-pop3d \
		perdition stunnel4 hitch linux-perf strace

.PHONY: cover
cover: deps ## say how much of the code the tests run, by function and in all
	USHER_REQUIRE_REAL=1 $(GO) test -timeout $(TESTTIME) -coverprofile cover.out -coverpkg ./... ./...
	$(GO) tool cover -func cover.out

.PHONY: check
check: vet fix tidy lint ## everything that judges the code without running it

.PHONY: vet
vet:
	$(GO) vet ./...

# Prints what a newer Go would write instead, and fails if there is anything.
.PHONY: fix
fix:
	$(GO) fix -diff ./...

.PHONY: tidy
tidy:
	$(GO) mod tidy -diff

# The linters, and the formatters gofumpt and goimports.
.PHONY: lint
lint:
	$(GO) run $(golangci) run ./...

.PHONY: format
format: ## rewrite the code as the formatters want it
	$(GO) run $(golangci) fmt ./...

.PHONY: vulncheck
vulncheck: ## look for known holes in what is used; asks Go's database on the network
	$(GO) run $(govulncheck) ./...

.PHONY: deps
deps: ## install what the tests need from Debian, and axe-core
	.ci/install-debian
	.ci/install-axe
