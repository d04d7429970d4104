package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	auditv1 "psephos.example/gen/go/psephos/audit/v1"
	digestv1 "psephos.example/gen/go/psephos/digest/v1"
)

const pollInterval = 500 * time.Millisecond

// checkpoints yields each new checkpoint of the log that is seen, once it is proven to continue the one before. It ends
// with an error when the log is forked, shrinks or is not signed by its key, and when ctx is done; what is only unavailable
// is asked again.
func (m *mesh) checkpoints(ctx context.Context, log note.Verifier) iter.Seq2[*checkpoint, error] {
	return func(yield func(*checkpoint, error) bool) {
		last := &checkpoint{}
		for {
			next, err := m.nextCheckpoint(ctx, log, last)
			switch {
			case err == nil && next.N > last.N:
				if !yield(next, nil) {
					return
				}
				last = next
			case err != nil && !isTransient(err) && status.Code(err) != codes.NotFound: // None is published yet.
				yield(nil, err)
				return
			}
			if err := sleep(ctx, pollInterval); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func (m *mesh) nextCheckpoint(ctx context.Context, log note.Verifier, last *checkpoint) (*checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := m.digests.GetLatestCheckpoint(ctx, &digestv1.GetLatestCheckpointRequest{ElectionId: m.election})
	if err != nil {
		return nil, err
	}
	next, err := openCheckpoint(answer.GetNote(), log)
	if err != nil {
		return nil, err
	}
	return next, m.checkContinues(ctx, last, next)
}

// checkContinues proves that the log of `next` begins with the log of `last`.
func (m *mesh) checkContinues(ctx context.Context, last, next *checkpoint) error {
	switch {
	case next.Tree == last.Tree || last.N == 0:
		return nil
	case next.N < last.N:
		return fmt.Errorf("the log shrank from %d to %d entries", last.N, next.N)
	case next.N == last.N:
		return fmt.Errorf("the log is forked: two roots of %d entries", next.N)
	}
	answer, err := m.audit.GetConsistencyProof(ctx, &auditv1.GetConsistencyProofRequest{
		ElectionId: m.election,
		OldSize:    uint64(last.N),
		NewSize:    uint64(next.N),
	})
	if err != nil {
		return err
	}
	proof := make(tlog.TreeProof, len(answer.GetProof()))
	for i, hash := range answer.GetProof() {
		if len(hash) != tlog.HashSize {
			return fmt.Errorf("hash %d of a consistency proof is not %d bytes", i, tlog.HashSize)
		}
		proof[i] = tlog.Hash(hash)
	}
	if err := tlog.CheckTree(proof, next.N, next.Hash, last.N, last.Hash); err != nil {
		return fmt.Errorf("the log of %d entries does not continue that of %d: %w", next.N, last.N, err)
	}
	return nil
}
