package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	auditv1 "psephos.example/gen/go/psephos/audit/v1"
)

const maxReceiptBytes = 1 << 20

// A receipt is what a .tlog-proof file proves: that a vote is in the log. It says nothing of how it was cast.
type receipt struct {
	// Index is the entry's place in the log.
	Index int64
	// Entry has the vote's shard, sequence and record hash (docs/spec.md, Log entry).
	Entry []byte
	// Log is the signed checkpoint of the log that it is in.
	Log *checkpoint
}

// recordHash is the hash that CastVote answered with, if the entry is a vote. It covers the vote's number, so a receipt with
// the record hash that one was given is that vote's.
func (r *receipt) recordHash() ([]byte, error) {
	const size = 1 + 2 + 8 + 32 // 0x02 ‖ u16 shard ‖ u64 sequence ‖ record_hash
	if len(r.Entry) != size || r.Entry[0] != 0x02 {
		return nil, errors.New("the entry is no vote")
	}
	return r.Entry[size-32:], nil
}

// position is the vote's shard and its place in that shard's chain.
func (r *receipt) position() (shard uint16, sequence uint64) {
	return binary.BigEndian.Uint16(r.Entry[1:]), binary.BigEndian.Uint64(r.Entry[3:])
}

// openReceipt verifies a .tlog-proof file (https://c2sp.org/tlog-proof; docs/spec.md, Receipt) with the log's key alone.
func openReceipt(text string, log note.Verifier) (*receipt, error) {
	if len(text) > maxReceiptBytes {
		return nil, fmt.Errorf("receipt: longer than %d bytes", maxReceiptBytes)
	}
	head, signed, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, errors.New("receipt: not a c2sp.org/tlog-proof@v1 with an entry and its index")
	}
	entry, err := field(lines[1], "extra ", parseBase64)
	if err != nil {
		return nil, err
	}
	index, err := field(lines[2], "index ", parseCount)
	if err != nil {
		return nil, err
	}
	proof := make(tlog.RecordProof, len(lines)-3)
	for i, line := range lines[3:] {
		if proof[i], err = parseHash(line); err != nil {
			return nil, fmt.Errorf("receipt: hash %d: %w", i+1, err)
		}
	}
	c, err := openCheckpoint(signed, log)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if index >= c.N { // CheckRecord takes it for a mistake of ours.
		return nil, fmt.Errorf("receipt: index %d is not in a log of %d entries", index, c.N)
	}
	if err := tlog.CheckRecord(proof, c.N, c.Hash, index, tlog.RecordHash(entry)); err != nil {
		return nil, fmt.Errorf("receipt: the entry is not in the log: %w", err)
	}
	return &receipt{Index: index, Entry: entry, Log: c}, nil
}

// field reads the value of a line that begins with its name.
func field[T any](line, name string, parse func(string) (T, error)) (T, error) {
	var none T
	text, found := strings.CutPrefix(line, name)
	if !found {
		return none, fmt.Errorf("receipt: there is no line %q", name)
	}
	value, err := parse(text)
	if err != nil {
		return none, fmt.Errorf("receipt: %s: %w", strings.TrimSpace(name), err)
	}
	return value, nil
}

// receiptOf asks for the proof that a vote is in the log of a checkpoint, and makes a .tlog-proof file of it, which is to
// be verified. NOT_FOUND and INVALID_ARGUMENT say that the vote is not among the checkpoint's entries: a later one has it.
func (m *mesh) receiptOf(ctx context.Context, vote uint64, c *checkpoint) (string, error) {
	proof, err := m.audit.GetInclusionProof(ctx, &auditv1.GetInclusionProofRequest{
		ElectionId: m.election,
		Entry:      &auditv1.GetInclusionProofRequest_VoteId{VoteId: vote},
		TreeSize:   uint64(c.N),
	})
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "c2sp.org/tlog-proof@v1\nextra %s\n", base64.StdEncoding.EncodeToString(proof.GetEntry()))
	fmt.Fprintf(&text, "index %d\n", proof.GetIndex())
	for _, hash := range proof.GetProof() {
		fmt.Fprintln(&text, base64.StdEncoding.EncodeToString(hash))
	}
	fmt.Fprintf(&text, "\n%s", c.Note)
	return text.String(), nil
}
