package candidates

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFields is how often a template may name a property.
const maxFields = 100

// fill puts properties into a template of Python's format language, as far as
// strings go: {name}, {name!s}, {name[0]}, {name:spec}, {{ and }}. literal is the
// text before the first property.
func fill(template string, properties map[string]string) (filled, literal string, err error) {
	if len(template) > maxURL {
		return "", "", errLong
	}
	var b strings.Builder
	literal, isLiteral := template, true
	fields := 0
	for rest := template; rest != ""; {
		at := strings.IndexAny(rest, "{}")
		if at < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:at])
		brace := rest[at]
		rest = rest[at+1:]
		if strings.HasPrefix(rest, string(brace)) {
			b.WriteByte(brace)
			rest = rest[1:]
			continue
		}
		end := strings.IndexByte(rest, '}')
		if brace == '}' || end < 0 {
			return "", "", fmt.Errorf("a brace in it stands alone")
		}
		if isLiteral {
			literal, isLiteral = b.String(), false
		}
		if fields++; fields > maxFields {
			return "", "", fmt.Errorf("it has more than %d properties", maxFields)
		}
		value, err := property(rest[:end], properties)
		if err != nil {
			return "", "", err
		}
		b.WriteString(value)
		if rest = rest[end+1:]; b.Len() > maxURL {
			return "", "", errLong
		}
	}
	if isLiteral {
		literal = b.String()
	}
	return b.String(), literal, nil
}

// property is what a field of a template stands for.
func property(field string, properties map[string]string) (string, error) {
	if strings.ContainsAny(field, "{") {
		return "", fmt.Errorf("{%.40s} has a brace in it", field)
	}
	field, spec, _ := strings.Cut(field, ":")
	name, conversion, converted := strings.Cut(field, "!")
	if converted && conversion != "s" {
		return "", fmt.Errorf("the conversion !%.10s is not understood", conversion)
	}
	name, index, indexed := strings.Cut(name, "[")
	if strings.Contains(name, ".") {
		return "", fmt.Errorf("{%.40s} has a dot in it, which is not understood", field)
	}
	value, known := properties[name]
	if !known {
		return "", fmt.Errorf("there is no property {%.40s}", name)
	}
	if len(value) > maxURL {
		return "", fmt.Errorf("{%.40s}: %w", name, errLong)
	}
	if indexed {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if runes := []rune(value); err != nil || n < 0 || n >= len(runes) || !strings.HasSuffix(index, "]") {
			return "", fmt.Errorf("{%.40s} has no such character", field)
		} else {
			value = string(runes[n])
		}
	}
	return pad(value, spec)
}

// pad applies [[fill]align][width][.precision][s], in characters.
func pad(value, spec string) (string, error) {
	if spec == "" {
		return value, nil
	}
	bad := fmt.Errorf("the format :%.40s is not understood", spec)
	filler, align := " ", byte('<')
	_, first := utf8.DecodeRuneInString(spec)
	switch {
	case len(spec) > first && strings.IndexByte("<>^", spec[first]) >= 0:
		filler, align, spec = spec[:first], spec[first], spec[first+1:]
	case strings.IndexByte("<>^", spec[0]) >= 0:
		align, spec = spec[0], spec[1:]
	}
	spec = strings.TrimSuffix(spec, "s")
	widthText, precisionText, cut := strings.Cut(spec, ".")
	if strings.HasPrefix(widthText, "0") && filler == " " {
		filler = "0"
	}
	width, err := number(widthText)
	if err != nil {
		return "", bad
	}
	runes := []rune(value)
	if cut {
		precision, err := number(precisionText)
		if err != nil || precisionText == "" {
			return "", bad
		}
		runes = runes[:min(len(runes), precision)]
	}
	left := 0
	missing := max(0, width-len(runes))
	switch align {
	case '>':
		left = missing
	case '^':
		left = missing / 2
	}
	return strings.Repeat(filler, left) + string(runes) + strings.Repeat(filler, missing-left), nil
}

func number(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n > maxURL {
		err = errLong
	}
	return int(n), err
}
