package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A checkpoint is how large the log is and what its root is, and the note in which the log's key signs that.
type checkpoint struct {
	tlog.Tree
	Note string
}

// openCheckpoint verifies a signed checkpoint (https://c2sp.org/tlog-checkpoint; docs/spec.md, Checkpoint). Signatures of
// others, such as witnesses, are ignored.
func openCheckpoint(signed string, log note.Verifier) (*checkpoint, error) {
	opened, err := note.Open([]byte(signed), note.VerifierList(log))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return nil, errors.New("checkpoint: it is not three lines")
	}
	if lines[0] != log.Name() {
		return nil, fmt.Errorf("checkpoint: it is of the log %q, not %q", lines[0], log.Name())
	}
	size, err := parseCount(lines[1])
	if err != nil {
		return nil, fmt.Errorf("checkpoint: its size: %w", err)
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return nil, fmt.Errorf("checkpoint: its root: %w", err)
	}
	return &checkpoint{Tree: tlog.Tree{N: size, Hash: root}, Note: signed}, nil
}

// parseCount reads a decimal number from 0 to 2^53 - 1 that is written in the one way there is.
func parseCount(text string) (int64, error) {
	count, err := strconv.ParseInt(text, 10, 64)
	if err != nil || count < 0 || count >= 1<<53 || strconv.FormatInt(count, 10) != text {
		return 0, fmt.Errorf("%q is no count", text)
	}
	return count, nil
}

// parseHash reads 32 bytes in base64.
func parseHash(text string) (hash tlog.Hash, err error) {
	decoded, err := parseBase64(text)
	if err != nil {
		return hash, err
	}
	if len(decoded) != tlog.HashSize {
		return hash, fmt.Errorf("%q is no hash", text)
	}
	return tlog.Hash(decoded), nil
}

// parseBase64 reads padded base64 that is written in the one way there is: Go's decoder skips line ends and, unless it is
// Strict, bits left over.
func parseBase64(text string) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err == nil && base64.StdEncoding.EncodeToString(decoded) != text {
		err = fmt.Errorf("%q is not canonical base64", text)
	}
	return decoded, err
}
