package main

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func newMarker(t *testing.T) *[]byte {
	t.Helper()
	marker := make([]byte, markerBytes)
	if _, err := rand.Read(marker); err != nil {
		t.Fatal(err)
	}
	return &marker
}

func TestGreetingIsFoundHoweverItArrives(t *testing.T) {
	marker := newMarker(t)
	for before := range 40 {
		for size := 1; size <= markerBytes+before; size++ {
			stream := append(bytes.Repeat([]byte{(*marker)[0]}, before), *marker...)
			var look greeting
			var found *[]byte
			for len(stream) > 0 {
				if found != nil {
					t.Fatalf("found before its end: %d bytes before it, %d at a time", before, size)
				}
				n := min(size, len(stream))
				found, _ = look.look(marker, stream[:n])
				stream = stream[n:]
			}
			if found == nil {
				t.Fatalf("not found: %d bytes before it, %d at a time", before, size)
			}
		}
	}
}

func TestWhatBeginsAGreetingIsHeldBack(t *testing.T) {
	marker := newMarker(t)
	for part := 1; part < markerBytes; part++ {
		var look greeting
		found, held := look.look(marker, append([]byte("before"), (*marker)[:part]...))
		want := part
		if part < minHeldBytes {
			want = 0
		}
		if found != nil || held != want {
			t.Errorf("%d bytes of it: held %d", part, held)
		}
		if _, held := look.look(marker, []byte("no")); held != 0 {
			t.Errorf("%d bytes of it and others: held %d", part, held)
		}
	}
}

func TestNothingIsAGreetingBeforeTheMachineIsSettled(t *testing.T) {
	var look greeting
	marker := newMarker(t)
	if found, held := look.look(nil, *marker); found != nil || held != 0 {
		t.Fatal("found")
	}
	if found, _ := look.look(marker, []byte{0}); found != nil {
		t.Fatal("found what came before")
	}
}
