package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// Names get addresses of the container's own, one each, so that a connection to one tells which name was meant. Nothing is asked of
// anybody: a question goes no further than here, whatever is written into its name.

const (
	// 198.18.0.0/15 is for tests of networks (RFC 2544): no program has a reason to know an address in it.
	firstSynthetic = 198<<24 | 18<<16
	maxNames       = 8192

	dnsHeaderBytes = 12
	typeA          = 1
	classIN        = 1
	ttlSeconds     = 60
)

// names are the last `maxNames` that were asked for. An address is given again after that many others: what connects to it then is
// decided by its new name.
type names struct {
	mutex   sync.Mutex
	places  map[string]int
	byPlace [maxNames]string
	next    int
}

var asked = names{places: map[string]int{}}

func (n *names) address(name string) netip.Addr {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	place, known := n.places[name]
	if !known {
		place = n.next
		n.next = (n.next + 1) % maxNames
		delete(n.places, n.byPlace[place])
		n.places[name], n.byPlace[place] = place, name
	}
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], firstSynthetic+1+uint32(place))
	return netip.AddrFrom4(address)
}

// meant is what a program wanted that connected to this address: a name, or else the address itself.
func (n *names) meant(address netip.Addr) string {
	bytes := address.Unmap().As4()
	place := int64(binary.BigEndian.Uint32(bytes[:])) - firstSynthetic - 1
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if place >= 0 && place < maxNames && n.byPlace[place] != "" {
		return n.byPlace[place]
	}
	return address.Unmap().String()
}

func answerNames(resolver net.PacketConn) error {
	question := make([]byte, 1500)
	for {
		size, from, err := resolver.ReadFrom(question)
		if err != nil {
			return err
		}
		if answer := answerTo(question[:size]); answer != nil {
			// Whoever asked may have gone.
			if _, err := resolver.WriteTo(answer, from); errors.Is(err, net.ErrClosed) {
				return err
			}
		}
	}
}

// answerTo answers a message of the DNS (RFC 1035 §4) that asks for the IPv4 address of one name. Other types of a name have no records.
// What isn't a question gets no answer.
func answerTo(message []byte) []byte {
	if len(message) < dnsHeaderBytes || message[2]&0xf8 != 0 || binary.BigEndian.Uint16(message[4:]) != 1 {
		return nil
	}
	name, rest, valid := questionName(message[dnsHeaderBytes:])
	if !valid || len(rest) < 4 {
		return nil
	}
	question := message[dnsHeaderBytes : len(message)-len(rest)+4]
	answer := make([]byte, 0, dnsHeaderBytes+len(question)+16)
	answer = append(answer, message[0], message[1], 0x80|message[2]&1, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	answer = append(answer, question...)
	if binary.BigEndian.Uint16(rest) != typeA || binary.BigEndian.Uint16(rest[2:]) != classIN {
		return answer
	}
	answer[7] = 1
	answer = append(answer, 0xc0, dnsHeaderBytes, 0, typeA, 0, classIN, 0, 0, 0, ttlSeconds, 0, 4)
	address := asked.address(name).As4()
	return append(answer, address[:]...)
}

// questionName reads labels up to the root: letters, digits, dashes and underscores, lower-case.
func questionName(bytes []byte) (name string, rest []byte, valid bool) {
	var labels []string
	for total := 0; len(bytes) > 0; {
		size := int(bytes[0])
		if size == 0 {
			return strings.Join(labels, "."), bytes[1:], len(labels) > 0
		}
		total += size + 1
		if size > 63 || total > 254 || len(bytes) <= size {
			return "", nil, false
		}
		label := strings.ToLower(string(bytes[1 : 1+size]))
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", nil, false
		}
		labels, bytes = append(labels, label), bytes[1+size:]
	}
	return "", nil, false
}
