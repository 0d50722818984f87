package main

import (
	"slices"
	"testing"
)

func TestParseStatIgnoresWhatTheNameHolds(t *testing.T) {
	p, alive, err := parseStat("42 (a) S 1 (b) R 7 8 9 0 -1")
	if err != nil || !alive || p.pid != 42 || p.parent != 7 || p.group != 8 || p.session != 9 {
		t.Fatalf("got %+v, %v, %v", p, alive, err)
	}
}

func TestParseStatKnowsTheDead(t *testing.T) {
	if _, alive, err := parseStat("42 (x) Z 1 2 3"); alive || err != nil {
		t.Fatalf("alive %v, error %v", alive, err)
	}
}

func TestParseStatRefusesGarbage(t *testing.T) {
	for _, stat := range []string{"", "1", "1 (x", "1 (x) S", "x (x) S 1 2 3", "1 (x) S a b c", ")("} {
		if _, _, err := parseStat(stat); err == nil {
			t.Errorf("accepted %q", stat)
		}
	}
}

func TestSelectRun(t *testing.T) {
	const marked = "\x00A=1\x00GLOVEBOX_RUN=r1\x00"
	processes := []process{
		{pid: 10, parent: 2, group: 10, session: 10},
		{pid: 11, parent: 10, group: 11, session: 10},                             // other group, same session
		{pid: 12, parent: 10, group: 12, session: 12},                             // child that made a session of its own
		{pid: 13, parent: 1, group: 13, session: 13, environment: []byte(marked)}, // double fork and setsid
		{pid: 14, parent: 13, group: 14, session: 14},                             // child of the one found by its marker
		{pid: 20, parent: 1, group: 20, session: 20, environment: []byte("\x00GLOVEBOX_RUN=r12\x00")},
		{pid: 21, parent: 1, group: 21, session: 21, environment: []byte("\x00X_GLOVEBOX_RUN=r1\x00")},
	}
	got := selectRun(processes, 10, "r1")
	slices.Sort(got)
	if want := []int{10, 11, 12, 13, 14}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
