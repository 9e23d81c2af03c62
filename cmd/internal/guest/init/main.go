// Command init is process 1 of a guest: all that runs there beside the kernel
// and the program under test.
package main

import "usher.example/cmd/internal/guest"

func main() { guest.Init() }
