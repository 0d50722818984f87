package main

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"sync"
)

// The engine's own format for a program's outputs (type, three zeros, length), with one more type: a JSON message of the agent's.
const (
	frameStdout  = 1
	frameStderr  = 2
	frameMessage = 3
)

// frames writes an answer piece by piece, at the host's pace.
type frames struct {
	mutex  sync.Mutex
	writer http.ResponseWriter
	stream *http.ResponseController
}

func newFrames(w http.ResponseWriter) *frames {
	return &frames{writer: w, stream: http.NewResponseController(w)}
}

// begin has the host know that it is heard, before there is anything to say.
func (f *frames) begin() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.stream.Flush()
}

func (f *frames) write(kind byte, content []byte) error {
	header := [8]byte{0: kind}
	binary.BigEndian.PutUint32(header[4:], uint32(len(content)))
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if _, err := f.writer.Write(header[:]); err != nil {
		return err
	}
	if _, err := f.writer.Write(content); err != nil {
		return err
	}
	return f.stream.Flush()
}

// A host that is gone needs no message.
func (f *frames) message(value any) {
	content, err := json.Marshal(value)
	if err == nil {
		err = f.write(frameMessage, content)
	}
	if err != nil {
		report("message: %v", err)
	}
}
