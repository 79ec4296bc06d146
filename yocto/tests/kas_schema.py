"""Every kas file named on the command line is what kas' own schema accepts."""

import json
import os
import sys

import jsonschema
import kas
import yaml

with open(os.path.join(os.path.dirname(kas.__file__), "schema-kas.json")) as file:
    schema = json.load(file)
for path in sys.argv[1:]:
    with open(path) as file:
        content = yaml.safe_load(file)
    try:
        jsonschema.validate(content, schema)
    except jsonschema.ValidationError as error:
        sys.exit("%s: %s: %s" % (path, "/".join(map(str, error.absolute_path)), error.message))
print("%d files accepted" % len(sys.argv[1:]))
