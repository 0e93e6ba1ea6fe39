"""A real browser for the scripts that look at the page: headless Chromium, driven by Selenium. It can reach this machine
only, and tells what it was asked to fetch and what went wrong in the page."""
import json
import shutil

CHROMIUM, DRIVER = '/usr/bin/chromium', '/usr/bin/chromedriver'
ARGUMENTS = (
    'headless=new', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage', 'hide-scrollbars', 'no-first-run',
    'disable-background-networking', 'disable-component-update', 'disable-default-apps', 'disable-extensions', 'disable-sync',
    'metrics-recording-only', 'password-store=basic', 'use-mock-keychain', 'force-color-profile=srgb',
    'host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1')


def missing():
    """Why there is no browser here; empty: there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return 'python3-selenium is not installed'
    for program in (CHROMIUM, DRIVER):
        if not shutil.which(program):
            return f'{program} is not installed'
    return ''


class Browser:
    """One window."""

    def __init__(self, width=1240, height=900, scale=1, dark=False, phone=False):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ARGUMENTS:
            options.add_argument('--' + argument)
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
        self.driver = webdriver.Chrome(service=Service(executable_path=DRIVER), options=options)
        self.driver.set_script_timeout(60)
        self.driver.set_page_load_timeout(60)
        self.requests = []
        self.size(width, height, scale, phone)
        self.colours(dark)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def size(self, width, height, scale=1, phone=False):
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
            'width': width, 'height': height, 'deviceScaleFactor': scale, 'mobile': phone})

    def colours(self, dark):
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {
            'features': [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]})

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        """What the script, a function's body, returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        return self.run('const e = document.querySelector(arguments[0]); return e && e.checkVisibility() ? e.innerText : null', selector)

    def count(self, selector):
        return self.run('return document.querySelectorAll(arguments[0]).length', selector)

    def picture(self, path, whole=True):
        """A PNG of what is to be seen, or of the whole page."""
        import base64
        shot = self.driver.execute_cdp_cmd('Page.captureScreenshot', {'format': 'png', 'captureBeyondViewport': whole})
        with open(path, 'wb') as file:
            file.write(base64.b64decode(shot['data']))

    def complaints(self):
        """What the page has written to its console since the last call, and what the browser refused it: (source, text)."""
        return [(entry['source'], entry['message']) for entry in self.driver.get_log('browser') if entry['level'] in ('SEVERE', 'WARNING')]

    def fetched(self):
        """Every address that was asked for since the browser began, and how many bytes came back for each."""
        for entry in self.driver.get_log('performance'):
            message = json.loads(entry['message'])['message']
            if message['method'] == 'Network.requestWillBeSent':
                self.requests.append(message['params']['request']['url'])
        return self.requests
