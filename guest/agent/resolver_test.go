package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// A question for the address of a name, as a resolver library writes it.
func question(name string, kind byte) []byte {
	message := []byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, label := range strings.Split(name, ".") {
		message = append(append(message, byte(len(label))), label...)
	}
	return append(message, 0, 0, kind, 0, classIN)
}

func TestNamesGetAddressesThatTellThem(t *testing.T) {
	first, second := answerTo(question("example.org", typeA)), answerTo(question("Example.COM", typeA))
	for name, answer := range map[string][]byte{"example.org": first, "example.com": second} {
		address, _ := netip.AddrFromSlice(answer[len(answer)-4:])
		if meant := asked.meant(address); meant != name {
			t.Errorf("%v is %q, not %q", address, meant, name)
		}
	}
	if again := answerTo(question("example.org", typeA)); !bytes.Equal(first, again) {
		t.Error("the same name has another address")
	}
	if meant := asked.meant(netip.MustParseAddr("203.0.113.7")); meant != "203.0.113.7" {
		t.Errorf("an address is %q", meant)
	}
}

func TestOtherTypesHaveNoRecords(t *testing.T) {
	for _, kind := range []byte{28 /* AAAA */, 16 /* TXT */, 65 /* HTTPS */, 255} {
		if answer := answerTo(question("example.org", kind)); answer == nil || answer[3]&15 != 0 || answer[7] != 0 {
			t.Errorf("type %d: %x", kind, answer)
		}
	}
}

func TestNoAnswerToWhatIsNoQuestion(t *testing.T) {
	good := question("example.org", typeA)
	for size := range good {
		if answerTo(good[:size]) != nil {
			t.Errorf("cut off at %d", size)
		}
	}
	response, two, root := bytes.Clone(good), bytes.Clone(good), question("", typeA)
	response[2], two[5] = 0x81, 2
	for what, message := range map[string][]byte{
		"a response": response, "two questions": two, "the root": root, "a space": question("a b.org", typeA),
		"a pointer": {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}, "a long label": question(strings.Repeat("a", 64)+".org", typeA),
		"a long name": question(strings.Repeat("abcdefg.", 40)+"org", typeA),
	} {
		if answer := answerTo(message); answer != nil {
			t.Errorf("%s: %x", what, answer)
		}
	}
}

func TestManyNamesTakeBoundedRoom(t *testing.T) {
	many := names{places: map[string]int{}}
	oldest := many.address("name-0.test")
	for i := 1; i <= maxNames; i++ {
		many.address(fmt.Sprintf("name-%d.test", i))
	}
	if len(many.places) != maxNames || many.meant(oldest) != fmt.Sprintf("name-%d.test", maxNames) {
		t.Errorf("%d names, %q", len(many.places), many.meant(oldest))
	}
}

func FuzzAnswerTo(f *testing.F) {
	f.Add(question("example.org", typeA))
	f.Fuzz(func(t *testing.T, message []byte) { answerTo(message) })
}
