"""Gets each URL by Python's own library, which honours the proxy variables, and prints what came."""

import ssl
import sys
import urllib.error
import urllib.request

bundle, *urls = sys.argv[1:]
context = ssl.create_default_context(cafile=bundle)
for url in urls:
    try:
        with urllib.request.urlopen(url, timeout=20, context=context) as response:
            print(response.status, len(response.read()))
    except urllib.error.HTTPError as error:
        print(error.code, len(error.read()))
    except OSError as error:
        print("error", error)
