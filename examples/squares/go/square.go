// Command square is an activity: it squares its one argument.
//
// It knows nothing of Flowy but two file names in the environment. math/big, because JSON has no
// limit on integers and a product that silently wraps around would be a wrong result, not an error.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
)

type input struct {
	Args []json.Number `json:"args"`
}

func square(path string) (*big.Int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var in input
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&in); err != nil {
		return nil, fmt.Errorf("the arguments are no list of numbers: %w", err)
	}
	if len(in.Args) != 1 {
		return nil, fmt.Errorf("square takes 1 argument, got %d", len(in.Args))
	}
	n, ok := new(big.Int).SetString(in.Args[0].String(), 10)
	if !ok {
		return nil, fmt.Errorf("square takes an integer, got %q", in.Args[0])
	}
	return n.Mul(n, n), nil
}

// failure is what a failed activity may leave in its result file. Trying again can't mend an argument.
func failure(err error) []byte {
	text, _ := json.Marshal(map[string]any{ // a map of strings always encodes
		"error": map[string]any{"type": "BadArgument", "message": err.Error(), "retryable": false},
	})
	return text
}

func main() {
	status := 0
	var result []byte
	if n, err := square(os.Getenv("FLOWY_INPUT_FILE")); err == nil {
		result = []byte(n.String())
	} else {
		result, status = failure(err), 1
		fmt.Fprintln(os.Stderr, err)
	}
	if err := os.WriteFile(os.Getenv("FLOWY_RESULT_FILE"), result, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}
