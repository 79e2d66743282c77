package wire

// scanner goes through JSON once. Each method answers whether it found what it was asked for, and
// stands behind it then; where it did not, the JSON is not looked at any more.
type scanner struct {
	raw []byte
	at  int
	// depth is how many brackets are open, deepest how many may be.
	depth, deepest int
	// spaced: there was white space between tokens.
	spaced bool
}

// peek answers the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.raw) {
		return s.raw[s.at]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) space() {
	for s.at < len(s.raw) {
		switch s.raw[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
			s.spaced = true
		default:
			return
		}
	}
}

func (s *scanner) literal(word string) bool {
	end := s.at + len(word)
	if end > len(s.raw) || string(s.raw[s.at:end]) != word {
		return false
	}
	s.at = end
	return true
}

// each goes through what is in brackets.
func (s *scanner) each(open, shut byte, item func() bool) bool {
	if s.depth++; s.depth > s.deepest || !s.take(open) {
		return false
	}
	s.space()
	if s.take(shut) {
		s.depth--
		return true
	}
	for {
		s.space()
		if !item() {
			return false
		}
		s.space()
		if s.take(shut) {
			s.depth--
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// key is a name and the colon behind it.
func (s *scanner) key() ([]byte, bool) {
	name, ok := s.text()
	s.space()
	if !ok || !s.take(':') {
		return nil, false
	}
	s.space()
	return name, true
}

// text is a string without escapes.
func (s *scanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	from := s.at
	for ; s.at < len(s.raw); s.at++ {
		switch c := s.raw[s.at]; {
		case c == '"':
			s.at++
			return s.raw[from : s.at-1], true
		case c < ' ' || c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// value is any JSON.
func (s *scanner) value() bool {
	switch s.peek() {
	case '{':
		return s.each('{', '}', func() bool {
			if !s.quoted() {
				return false
			}
			s.space()
			if !s.take(':') {
				return false
			}
			s.space()
			return s.value()
		})
	case '[':
		return s.each('[', ']', s.value)
	case '"':
		return s.quoted()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, ok := s.number()
		return ok
	}
}

// quoted is a string with any escapes.
func (s *scanner) quoted() bool {
	if !s.take('"') {
		return false
	}
	for s.at < len(s.raw) {
		c := s.raw[s.at]
		s.at++
		switch {
		case c == '"':
			return true
		case c < ' ':
			return false
		case c == '\\' && !s.escape():
			return false
		}
	}
	return false
}

// escape is what follows a backslash.
func (s *scanner) escape() bool {
	c := s.peek()
	s.at++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if !isHex(s.peek()) {
				return false
			}
			s.at++
		}
		return true
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (s *scanner) number() ([]byte, bool) {
	from := s.at
	s.take('-')
	if !s.take('0') && s.digits() == 0 {
		return nil, false
	}
	if s.take('.') && s.digits() == 0 {
		return nil, false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if s.digits() == 0 {
			return nil, false
		}
	}
	return s.raw[from:s.at], true
}

func (s *scanner) digits() (n int) {
	for ; '0' <= s.peek() && s.peek() <= '9'; n++ {
		s.at++
	}
	return n
}
