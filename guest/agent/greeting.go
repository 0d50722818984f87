package main

import "bytes"

// The least of a marker that is held back: less of it may well be chance, and a host waits for the answer to what it sent.
const minHeldBytes = 8

// greeting looks for the marker that only the host of a copy sends, in what is read since this machine was settled. That host sends
// nothing more before it is answered.
type greeting struct {
	// The last bytes read, as many as a marker has.
	trail []byte
}

// look takes what was just read. It answers the marker when that is complete, and else how many bytes at the end may begin one.
func (g *greeting) look(marker *[]byte, chunk []byte) (*[]byte, int) {
	if marker == nil {
		g.trail = nil
		return nil, 0
	}
	g.trail = append(g.trail, chunk...)
	g.trail = g.trail[max(0, len(g.trail)-len(*marker)):]
	for length := len(g.trail); length >= minHeldBytes; length-- {
		if !bytes.HasPrefix(*marker, g.trail[len(g.trail)-length:]) {
			continue
		}
		if length == len(*marker) {
			return marker, 0
		}
		return nil, length
	}
	return nil, 0
}
