package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxFile is the largest configuration that is read, in bytes: room for some
// 2,000 back ends. A wrong path (a log, a device) is told before memory is full
// of it, and the TOML library, which compares each key with all others of its
// table, takes a second at worst.
const MaxFile = 256 << 10

// Load reads the configuration at path. What is wrong in it is the error, as
// [Problems]; other errors mean that it could not be read.
func Load(path string) (*Config, error) { return load(path, Parse) }

// LoadWitness is Load for a node that only votes: [ParseWitness].
func LoadWitness(path string) (*Config, error) { return load(path, ParseWitness) }

func load(path string, parse func(string, []byte) (*Config, error)) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, data)
}

// Parse reads a configuration. The name is the file's in problems, and relative
// paths in the configuration start from its directory. An error is always a
// [Problems] without warnings.
func Parse(name string, data []byte) (*Config, error) { return parse(name, data, false) }

// ParseWitness is Parse for a node that only votes: its file has a fleet, and
// needs neither listeners nor pools.
func ParseWitness(name string, data []byte) (*Config, error) { return parse(name, data, true) }

func parse(name string, data []byte, witness bool) (*Config, error) {
	b := &binder{reporter: reporter{source: source{file: name}}, bad: map[string]bool{}, witness: witness}
	if len(data) > MaxFile {
		b.at("", "the file is larger than %d bytes, which no configuration needs", MaxFile)
		return nil, b.found
	}
	b.keys = locate(data)
	doc := b.decode(data)

	c := &Config{}
	b.table("", doc, reflect.ValueOf(c).Elem())
	if !b.partial {
		b.complete(c)
		b.validate(c)
	}
	if len(b.found) > 0 {
		b.found.sort()
		return nil, b.found
	}
	c.source = b.source
	return c, nil
}

// decode reads the TOML. It reports an error of syntax, and then gives what
// stands above the line of it, so that other problems there are told as well.
func (b *binder) decode(data []byte) map[string]any {
	var doc map[string]any
	err := toml.Unmarshal(data, &doc)
	if err == nil {
		return doc
	}
	b.partial = true
	var syntax *toml.DecodeError
	if !errors.As(err, &syntax) {
		b.at("", "%s", message(err))
		return nil
	}
	pos := position{}
	pos.line, pos.column = syntax.Position()
	b.add(pos, false, message(err))

	above := 0
	for range pos.line - 1 {
		above += bytes.IndexByte(data[above:], '\n') + 1
	}
	doc = nil
	if toml.Unmarshal(data[:above], &doc) != nil {
		return nil // the error is inside of something that began above
	}
	return doc
}

// message is the library's, on one line and without its name.
func message(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "toml: "), "\n", " ")
}
