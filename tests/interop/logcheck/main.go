// Command logcheck passes a print log only if the implementations of others do: tessera's fsck, transparency-dev's
// Merkle proofs, Go's sumdb and torchwood's client. It shares no code with Platemark.
//
//	logcheck [-witness VKEY]... PLACE VKEY
//
// PLACE is a folder or an http address with checkpoint and tile/; VKEY is the log's key, whose name is its origin. Each
// -witness must have cosigned the checkpoint. Prints "size root" and exits with 0, or says on stderr what is wrong and
// exits with 1.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"
	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// More workers than a log of the tests has files: fsck waits for ever once all of its workers have failed.
const workers = 64

const deadline = time.Minute

type keys []string

func (k *keys) String() string        { return strings.Join(*k, " ") }
func (k *keys) Set(text string) error { *k = append(*k, text); return nil }

func main() {
	var witnesses keys
	flag.Var(&witnesses, "witness", "vkey of a witness that must have cosigned; may be repeated")
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	found := make(chan error, 1)
	go func() { found <- check(ctx, flag.Arg(0), flag.Arg(1), witnesses) }()
	select {
	case err := <-found:
		if err != nil {
			fail(err)
		}
	case <-ctx.Done():
		fail(ctx.Err())
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func check(ctx context.Context, place, vkey string, witnesses []string) error {
	source, tiles, err := open(place)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	data, err := source.ReadCheckpoint(ctx)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	checkpoint, err := readCheckpoint(data, verifier, witnesses)
	if err != nil {
		return err
	}
	// A log without entries has no tiles, and fsck of one waits for what does not come.
	if checkpoint.N > 0 {
		if err := fsck.New(verifier.Name(), verifier, source, hashBundle, fsck.Opts{N: workers}).Check(ctx); err != nil {
			return fmt.Errorf("fsck: %w", err)
		}
	}
	entries, err := readEntries(ctx, tiles, checkpoint.Tree)
	if err != nil {
		return fmt.Errorf("torchwood: %w", err)
	}
	hashes, err := replay(entries, checkpoint.Tree)
	if err != nil {
		return fmt.Errorf("sumdb: %w", err)
	}
	if err := prove(ctx, source, entries, hashes, checkpoint.Tree); err != nil {
		return fmt.Errorf("merkle: %w", err)
	}
	fmt.Println(checkpoint.N, base64.StdEncoding.EncodeToString(checkpoint.Hash[:]))
	return nil
}

// open returns a place's files as tessera and as torchwood read them.
func open(place string) (fsck.Fetcher, torchwood.TileReader, error) {
	if !strings.HasPrefix(place, "http://") {
		tiles, err := torchwood.NewTileFS(os.DirFS(place))
		return client.FileFetcher{Root: place}, tiles, err
	}
	address, err := url.Parse(place)
	if err != nil {
		return nil, nil, err
	}
	source, err := client.NewHTTPFetcher(address, nil)
	if err != nil {
		return nil, nil, err
	}
	tiles, err := torchwood.NewTileFetcher(place)
	return source, tiles, err
}

// readCheckpoint opens the note as both libraries do, with the log's key and with each witness's.
func readCheckpoint(data []byte, verifier note.Verifier, witnesses []string) (torchwood.Checkpoint, error) {
	policies := []torchwood.Policy{
		torchwood.SingleVerifierPolicy(verifier), torchwood.OriginPolicy(verifier.Name()),
	}
	for _, vkey := range witnesses {
		ours, err := torchwood.NewCosignatureVerifier(vkey)
		if err != nil {
			return torchwood.Checkpoint{}, fmt.Errorf("witness: %w", err)
		}
		policies = append(policies, torchwood.SingleVerifierPolicy(ours))
		other, err := f_note.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return torchwood.Checkpoint{}, fmt.Errorf("witness: %w", err)
		}
		if _, err := note.Open(data, note.VerifierList(other)); err != nil {
			return torchwood.Checkpoint{}, fmt.Errorf("cosignature: %w", err)
		}
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(data, torchwood.ThresholdPolicy(len(policies), policies...))
	if err != nil {
		return checkpoint, fmt.Errorf("checkpoint: %w", err)
	}
	return checkpoint, nil
}

func hashBundle(bundle []byte) ([][]byte, error) {
	var parsed api.EntryBundle
	if err := parsed.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(parsed.Entries))
	for _, entry := range parsed.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// readEntries returns all entries; bytes after the last entry of a bundle are an error, which fsck passes over.
func readEntries(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree) ([][]byte, error) {
	reader, err := torchwood.NewClient(tiles, torchwood.WithTimeout(deadline))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for index, entry := range reader.AllEntries(ctx, tree, 0) {
		if index != int64(len(entries)) {
			return nil, fmt.Errorf("entry %d comes after %d entries", index, len(entries))
		}
		entries = append(entries, append([]byte(nil), entry...))
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if int64(len(entries)) != tree.N {
		return nil, fmt.Errorf("%d entries instead of %d", len(entries), tree.N)
	}
	return entries, nil
}

// replay builds the tree anew, compares its root, and returns the stored hashes.
func replay(entries [][]byte, tree tlog.Tree) (tlog.HashReaderFunc, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, 0, len(indexes))
		for _, index := range indexes {
			if index >= int64(len(stored)) {
				return nil, errors.New("a hash beyond the tree")
			}
			found = append(found, stored[index])
		}
		return found, nil
	})
	for index, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(index), entry, reader)
		if err != nil {
			return nil, err
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, fmt.Errorf("root %v instead of %v", root, tree.Hash)
	}
	return reader, nil
}

// prove makes proofs from the tiles and from the replayed tree, and lets each library check the other's.
func prove(ctx context.Context, source fsck.Fetcher, entries [][]byte, hashes tlog.HashReaderFunc, tree tlog.Tree) error {
	if tree.N == 0 {
		return nil
	}
	builder, err := client.NewProofBuilder(ctx, uint64(tree.N), source.ReadTile)
	if err != nil {
		return err
	}
	for _, index := range spread(0, tree.N-1) {
		steps, err := builder.InclusionProof(ctx, uint64(index))
		if err != nil {
			return err
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(entries[index])
		err = proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(tree.N), leaf, steps, tree.Hash[:])
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if err := tlog.CheckRecord(hashesOf(steps), tree.N, tree.Hash, index, tlog.RecordHash(entries[index])); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	for _, size := range spread(1, tree.N) {
		old, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return err
		}
		steps, err := builder.ConsistencyProof(ctx, uint64(size), uint64(tree.N))
		if err != nil {
			return err
		}
		err = proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(size), uint64(tree.N), steps, old[:], tree.Hash[:])
		if err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
		if err := tlog.CheckTree(hashesOf(steps), tree.N, tree.Hash, size, old); err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
	}
	return nil
}

// spread returns numbers from low to high: both ends, those around full tiles, and some between.
func spread(low, high int64) []int64 {
	var found []int64
	for at := low; at <= high; at++ {
		if at-low < 4 || high-at < 4 || (at+2)%torchwood.TileWidth < 4 || at%37 == 0 {
			found = append(found, at)
		}
	}
	return found
}

func hashesOf(steps [][]byte) []tlog.Hash {
	found := make([]tlog.Hash, 0, len(steps))
	for _, step := range steps {
		found = append(found, tlog.Hash(step))
	}
	return found
}
