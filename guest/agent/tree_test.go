package main

import (
	"reflect"
	"testing"
)

func TestNamesBelow(t *testing.T) {
	for name, want := range map[string][]string{"a": {"a"}, "a/b c/": {"a", "b c"}, "proc/x": {"proc", "x"}, "..a/...": {"..a", "..."}} {
		if got, err := namesBelow(name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, %v", name, got, err)
		}
	}
	deep := make([]byte, 0, 2*maxTreeDepth+2)
	for range maxTreeDepth + 1 {
		deep = append(deep, "d/"...)
	}
	for _, name := range []string{"", ".", "./a", "/a", "a//b", "../a", "a/../b", "a/..", "a\x00b", "a//", "/", string(deep)} {
		if _, err := namesBelow(name); err == nil {
			t.Errorf("took %q", name)
		}
	}
}
