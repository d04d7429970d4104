package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	digestv1 "psephos.example/gen/go/psephos/digest/v1"
)

// checkpoints yields each new checkpoint of the log, once it is proven to continue the one before. It ends with an error
// when the log is forked, shrinks or is not signed by its key, and when ctx is done. A stream that breaks is begun again.
func (m *mesh) checkpoints(ctx context.Context, log note.Verifier) iter.Seq2[*checkpoint, error] {
	return func(yield func(*checkpoint, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // Ends the stream when the caller has seen enough.
		last := &checkpoint{}
		for failures := 0; ; {
			stream, err := m.digests.Watch(ctx, &digestv1.WatchRequest{ElectionId: m.election})
			for err == nil {
				var next *checkpoint
				if next, err = m.nextCheckpoint(ctx, stream, log, last); err != nil {
					break
				}
				failures = 0
				if next.N > last.N { // The same comes again to show that the stream lives.
					if !yield(next, nil) {
						return
					}
					last = next
				}
			}
			// NOT_FOUND: none is published yet. EOF: the Publisher stops.
			if !isTransient(err) && status.Code(err) != codes.NotFound && err != io.EOF {
				yield(nil, cmp.Or(ctx.Err(), err))
				return
			}
			failures++
			if err := sleep(ctx, retryDelay(err, failures)); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

type checkpointStream = grpc.ServerStreamingClient[digestv1.WatchResponse]

func (m *mesh) nextCheckpoint(
	ctx context.Context, stream checkpointStream, log note.Verifier, last *checkpoint,
) (*checkpoint, error) {
	answer, err := stream.Recv()
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
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := m.digests.GetConsistencyProof(ctx, &digestv1.GetConsistencyProofRequest{
		ElectionId: m.election,
		First:      uint64(last.N),
		Second:     uint64(next.N),
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
