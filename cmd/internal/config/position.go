package config

// A position is a place in the file. Lines and columns count from 1, columns
// in bytes. The zero value is no place: of a Config that code has made.
type position struct {
	line, column int
}

// A source tells where each key of a Config was written.
type source struct {
	file string
	keys map[string]position // by path, such as listener[0].address
}
