"""Names of persons: Chinese by surname and what stands around it, English after titles and cues.

A surname alone says little: 高兴, 白云, 王国 begin with one. So a Chinese name is taken only
where something says that a person is meant: a cue before it (联系人, 收件人, 我叫), a title or a verb
of speech after it (先生, 女士, 表示). How far it reaches is decided by characters that given
names are made of, and by those that they never have.
"""

# ruff: noqa: E501, SIM905  (lists and patterns read better in long lines)
from __future__ import annotations

import re
from collections.abc import Iterator

COMMON = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
"""The hundred most frequent (public security ministry's yearly report)."""
RARE = frozenset(
    "常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴"
    "霍阎傅萧赖涂成苗谷盛曲翁冉骆蓝路游辛靳欧管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚"
    "岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟"
    "邝官封谈匡鞠惠荆乐冀郁胥南班储原栗燕楚鄢劳谌奚皮粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴盖练廉禹井"
)
DOUBLE = frozenset(
    "欧阳 上官 司马 诸葛 司徒 东方 皇甫 尉迟 公孙 慕容 令狐 宇文 长孙 轩辕 夏侯 端木 独孤 南宫 西门 百里 闻人 申屠"
    " 澹台 钟离 呼延 濮阳 公羊 万俟 赫连 拓跋 太史 淳于 单于 完颜 纳兰 第五 公冶 宗政 仲孙 东郭 南门 左丘".split()
)
GIVEN = frozenset(
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅建国文志海林波辉斌鹏飞浩宇轩子涵梓萱雨欣怡佳思颖"
    "琪嘉俊豪博雅晓雪婷慧倩琳莹莉燕玲萍丹凤云峰龙宁凯旭东阳春亮成康健德福贵荣光兴庆生根义忠良善仁礼智信永恒昌"
    "盛茂松柏青清泉源江河湖山岩石川岚岭晨曦晖昊天瑞祥吉利宝珍珠瑶璐瑜瑾琴琼琦珊玥彤虹霖霏露雯霄洁冰心爱美好媛"
    "婧嫣妍姗娇婉娴妮菲蕾薇蓉蓓菊莲荷芸茜茹芝芬芷若诗韵梦瑗可欢乐悦愉怀恩惠慈孝贤淑贞端庄仪容若男亦一依伊君"
    "武威雄力胜凌霜栋梁柱材森楠彬桐枫榕杨柳炎焱煜烨灿炜焕然熙煦勋耀辰星宸月楚钧钢铁铭锋锐鑫钰镇银金淼泽润沛沐"
    "涌洲瀚鸿翔鹤鹰骏骥驰腾跃奔远达运迪通逸迅安定邦方正直诚实朗启承继绍绪祖宗嗣学书礼诗景尚卿之维绮绣素纯纪"
    "纲经纬苗艺萌园新欣昕晗晶昱晴暖岳崇巍嵩峻家宏宽容宾宣宗守寒宜秋冬夏喜双百万千廷延彦彪征律御循愷恺恒悟悠惟"
    "意懿成戈战扬振挺捷授敬敦斐斯旺昭显晋普曼会有朋本权来松柔标树校格楷榛槿欧歌毅民汉池汝沁治泓泰津洪流济浪淳"
    "渊湘溪滨漫潇澄澜灵烁特猛献玄玮玲珂珏球理琛琨琪琰瑄璇璟甜田申男畅百皓益盈相睿知硕磊祎禄禹秉科程立竹筠简"
    "粤精紫红繁纳群羽翠耘聪联育肖胤至致舒航良艾节苏茵莎菁菡萧蓝薛虎蝶衡裕西言誉许谦谨财贝赐赫超越路轶辅连逊道"
    "邑郁郡酉采野钊镜长阔陶隆雁雄静非韬顺颂领颜飒馨骁高魁鸣麒麟黎齐龄"
)
NEVER = frozenset(
    "的了是在不我你您他她它们这那哪有就也都说要去到电手话机住址身证号码先老收给把被让向于从对为已将能还没"
    "很太再又但或及等因所则即且吗呢吧啊呀嘛么什谁怎请问谢退换货款单付买卖价钱元块部门公司店员工客户服务系统"
    "地址产品商订做看听吃喝走跑想觉得感发写用打开关下里外后前间期内第个只些每各该此与和跟同昨今年日号点分秒"
    "时候够过来了着吵病院校处区县市省街楼层室栋务务员师员者姐"
)
WORDLIKE = "和于向应连全时谢"
"""Surnames that are far more often words."""
WORDS = frozenset(
    "高兴 高级 高度 高效 高速 高中 高考 高温 高端 高铁 高价 高层 高峰 高清 高分 白云 白色 白天 白菜 白领 白金 白白 白酒"
    " 王国 王者 王牌 王子 王朝 方便 方面 方法 方案 方向 方式 方式方 方正 安全 安装 安排 安静 安心 安慰 安卓 马上 马路 马达"
    " 马桶 马克 温暖 温度 温柔 温馨 温泉 温和 项目 项链 成功 成为 成本 成立 成长 成都 成员 成熟 成绩 成果 时间 时候 时尚 时代"
    " 和平 和谐 和好 和气 关于 关系 关心 关注 关键 关闭 关机 连接 连续 连锁 连忙 金额 金融 金色 金属 金牌 金卡 万一 万能 万元"
    " 万达 平安 平时 平台 平衡 平常 平板 平均 平价 水平 水果 江苏 江西 江南 江湖 黄金 黄色 黄山 黄河 石头 石油 田园 田地 林业"
    " 林区 杨树 周末 周围 周边 周年 周期 周到 周日 周一 周二 周三 周四 周五 周六 许多 许可 曾经 于是 余额 余款 余下 程序 程度"
    " 何时 何必 何况 何处 任何 任务 任意 明白 明天 明显 明年 明确 明星 明明 夏天 夏季 秦皇 秦岭 秋天 严重 严格 严肃 钱包 钱款"
    " 龙头 龙虾 雷达 雷电 武器 武汉 武术 万事 应该 应当 应用 应急 丁香 花园 花费 花钱 花束 海外 海关 海鲜 海洋 海边 海报 强烈"
    " 强大 强调 强行 全部 全面 全国 全家 全新 全程 全额 解决 解释 解除 盖子 路上 路线 路由 路口 路边 车辆 车子 车间 车票 车位"
    " 古代 古典 古镇 古城 文件 文化 文字 文明 文章 包装 包裹 包括 包含 包邮 包月 常见 常用 常常 常规 易用 易碎 单位 单独 单价"
    " 单人 单元 单号 单身 简单 简直 简介 简历 连衣 房间 房子 房东 房租 房屋 牛奶 牛肉 牛仔 毛巾 毛衣 毛病 管理 管家 管道 商品"
    " 商家 商场 商务 商店 华为 华丽 华人 南方 南京 东方 北方 西方 季节 季度 容易 冷静 冷气 冷淡 乐器 乐意 乐观 乐园 满意 满足"
    " 满减 满分 区别 区域 党员 边上 班级 班主 祝福 祝你 祝您 卫生 卫生间 卫星 司机 司法 农民 农村 农业 師傅 师傅 师生 麻烦 麻辣"
    " 米饭 费用 费心 席位 查询 查看 查收 查清 谈判 官方 官网 封面 位置 位于 闻名 练习 权利 权限 权益 原因 原来 原价 原装 党委"
    " 经理 胡同 胡说 胡乱 陈旧 陈列 陈述 汤圆 段落 苏打 范围 范本 孔雀 向上 向往 向前 向导 贺卡 顾客 顾问 顾虑 康复 施工 施行"
    " 宁可 宁静 宁愿 尚未 尚且 符合 符号 童年 童装 凌晨 毕业 毕竟 谷歌 谷物 盛大 盛开 曲线 游戏 游客 游泳 游玩 辛苦 吉祥 吉他"
    " 景点 景区 景色 宫殿 卡通 桂花 边界 荣誉 荣幸 桑拿 燕窝 燕麦 皮肤 皮鞋 皮革 楼下 楼上 楼梯 楼道 盘子 帅气 豆腐 豆浆 廉价"
    " 危险 年轻 广大 第一 贵宾 贵方 本店 唐诗 唐朝 宋朝 宋体 唐装 谢谢 谢意 谢绝 罗马 罗列 梁山 曹操 董事 蒋介 叶子 叶片 石榴"
    " 熊猫 江河 江边 侯爵 史上 史诗 陶瓷 陶器 武装 莫名 莫非 常客 常温 文艺 文档 方形 童话 柴油 蒙古 华东 华北 华南 冷链 伍佰"
    " 欧洲 欧美 欧元 阳光 阳台 阳性 焦虑 焦点 左右 左边 甘肃 甘甜 鲁莽 康乐 易拉 齐全 庄严 章节 蓝色 蓝牙 蓝天 房产 饶恕 简约"
    " 车主 项圈 麦片 麦克 党费 费力 全体 全天 全套 全职 官僚 官司 应届 边境 商业 商量 荣获 明信 明细 池塘 查验 麻醉 丛林 海底"
    " 花生 花朵 花样 强制 强化 强度 朴素 练手 井盖 于此 白玉 雷雨 金鱼 安康 康健 高明 高贵 高雅 方圆 时光 温情 乐天 万家 成人".split()
)

_CUES = (
    "@|姓名|名字叫|名字|名叫|联系人|联络人|收件人|收货人|收款人|寄件人|发件人|付款人|持卡人|开户人|户名|申请人|投保人"
    "|被保险人|受益人|报案人|患者|病人|乘客|旅客|乘车人|经办人|负责人|法定代表人|法人代表|法人|签收人|紧急联系人|担保人"
    "|借款人|租客|房东|业主|车主|股东|当事人|原告|被告|考生|家长|我叫|叫做|他叫|她叫|叫|房主|户主|登记人|预订人|入住人|投诉人|本人"
)
_WEAK = (
    "我是|客户|用户|员工|学生|同事|同学|朋友|会员|老师|司机|医生|客服|经理|联系|找|通知|转告|告诉|询问|采访|任命|聘请|感谢|致"
    "|邀请|表扬|投诉|陪同|委托|见到|遇到|遇见|老公|老婆|妻子|丈夫|儿子|女儿|爱人|母亲|父亲|妈妈|爸爸|和|跟|给|由|让|请|把|被|向"
)
_TITLES = (
    "先生|女士|小姐|老师|同学|经理|医生|大夫|主任|教授|总监|律师|师傅|阿姨|博士|院长|校长|局长|处长|科长|部长|董事长|总裁"
    "|护士|警官|法官|书记|主管|店长|队长|组长|同志|老板|太太|夫人|工程师|会计|秘书|总经理"
)
_SPEECH = "说|表示|认为|指出|告诉|介绍|反映|回忆|称|透露|强调|补充|签收|来电|致电|投诉|预订|申请|购买|下单|报名|入住|就诊"
_ENGLISH = (
    r"[A-Z][a-z'’]{1,20}(?: [A-Z]\.)?(?: (?:[A-Z]['’]|Mc|Mac)?[A-Z][a-z]{1,20}(?:-[A-Z][A-Za-z]{1,20})?){1,2}"
    r"(?![A-Za-z])"
)
_CUE = re.compile(rf"(?P<cue>{_CUES})(?:是|为|叫|名)?[ ]?(?:[:：|,，]|\(|（)?[ ]?(?=[一-龥])")
_MIXED = re.compile(
    rf"(?:{_CUES}|客户|用户|员工|会员|旅客|同事|联系)(?:是|为)?[:： ]{{0,2}}(?P<value>{_ENGLISH})"
)
_BEFORE = re.compile(rf"(?:{_WEAK})[:：]?(?=[^\x00-\u4dff])")
_AFTER = re.compile(
    rf"(?P<title>{_TITLES})|(?:{_SPEECH})|收(?=[,，。;； ]|\Z)|[ ,，(（]{{0,2}}(?:身份证|1[3-9][0-9]{{9}})"
)
_RUN = re.compile(r"[一-龥]{2,4}\Z")
_EDGE = re.compile(
    rf"\Z|[^一-龥]|{_TITLES}|{_SPEECH}|电话|手机|身份|住|收|您|你|的|在|和|与|已|于|来|要|是|今|昨|明天|因|把|给|联系|微信|男|女|邮箱"
    "|卡号|账号|护照|车牌|持|现|从|去|向|对|也|就|都|有|没|不|吗|吧|呢|啊|了|想|问|到|刚|将|曾|跟|同|及|或|负责|做|用|寄|买|发"
)
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|Sir|Madam|Captain|Judge|Senator)\b\.? "
    r"(?P<value>[A-Z][A-Za-z'’\-]{1,20}(?: (?:[A-Z]\. )?[A-Z][A-Za-z'’\-]{1,20}){0,2})"
)
_CUED = re.compile(
    r"(?i:\b(?:my name is|name is|names?|i am|i'm|this is|contact|attn|attention|dear|hi|hello|regards|sincerely"
    r"|cheers|thanks|signed|customer|client|patient|passenger|guest|cardholder|recipient|employee|applicant"
    r"|tenant|driver|beneficiary|account holder|holder|for|from|by|to|with|told|call|ask|met|spoke|colleague"
    r"|manager|engineer|agent|owner|student|wife|husband|friend|son|daughter))\b[ ]?[:,]?[ ]?"
    rf"(?P<value>{_ENGLISH})"
)
_SPOKE = re.compile(
    r"(?<![A-Za-z.])(?P<value>[A-Z][a-z]{1,20}(?: [A-Z]\.)? (?:[A-Z]['’]|Mc|Mac)?[A-Z][a-z]{1,20}(?:-[A-Z][a-z]{1,20})?)"
    r" (?:said|says|called|wrote|asked|told|signed|complained|ordered|reported|confirmed|paid|lives|works|booked)\b"
)
_NOT_ENGLISH = re.compile(
    r"\b(?:Customer|Support|Service|Team|Sir|Madam|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|January"
    r"|February|March|April|June|July|August|September|October|November|December|New|Old|The|This|That|Our|Your"
    r"|Street|St|Road|Avenue|Ave|Park|University|College|School|Hospital|Hotel|Bank|Company|Inc|Ltd|Corp|City|State"
    r"|Lake|Mount|River|North|South|East|West|United|Great|All|Every|Happy|Good|Best|Kind|Warm|Office|Center|Centre"
    r"|Airport|Station|Store|Shop|Market|Windows|Google|Microsoft|Amazon|Apple|Order|Account|Number|Phone|Card|Email"
    r"|Address|Manager|Department|English|Chinese|American|British|French|German|Los|San|Hong|Las|Black|Christmas"
    r"|Easter|Valentine|Version|Premium|Gold|Silver|Pro|Plus|Air|Prime|Express|Desk|Sales|Human|Data|Machine|Deep|No|Passport|Number|Thanks"
    r"|Thank|Please|Regards|Dear|Hello|Hi|Contact|Call|Ship)\b"
)
_ENGLISH_CUES = (
    r"(?i:mrs?|ms|miss|dr|prof|professor|madam|captain|judge|name|names|name is|i am|i'm|this is|contact|attn|attention|dear|hi"
    r"|hello|regards|sincerely|cheers|thanks|signed|customer|client|patient|passenger|guest|cardholder|recipient|employee"
    r"|applicant|tenant|driver|beneficiary|holder|for|from|by|to|with|told|call|ask|met|spoke|colleague|manager|engineer"
    r"|agent|owner|student|wife|husband|friend|son|daughter|sir|senator)[.:, ]{1,3}[A-Z][a-z]"
    r"|[A-Z][a-z]+ (?:said|says|called|wrote|asked|told|signed|complained|ordered|reported|confirmed|paid|lives|works|booked)"
)
# No \b here: the Unicode one sends Rust's regex to its slowest engine (60 times slower).
_FIRST = "".join(sorted(COMMON | RARE | {name[0] for name in DOUBLE}))
NAME_HINT = (
    rf"(?:{_CUES})(?:是|为|叫|名)?[ :：|,，(（]{{0,3}}(?:[{_FIRST}]|[A-Z][a-z])|(?:{_WEAK})[:： ]{{0,2}}(?:[{_FIRST}]|[A-Z][a-z])"
    rf"|[{_FIRST}][一-龥]{{1,3}}(?:{_TITLES}|{_SPEECH}|收[,，。;； ]|收$|[ ,，(（]{{0,2}}(?:身份证|1[3-9][0-9]{{9}}))|{_ENGLISH_CUES}"
)
"""What a text has that has a name."""


def names(text: str) -> Iterator[tuple[int, int]]:
    """The spans of person names in `text`."""
    yield from _chinese(text)
    for pattern in (_TITLED, _CUED, _SPOKE, _MIXED):
        for match in pattern.finditer(text):
            start, end = match.span("value")
            other = _NOT_ENGLISH.search(text, start, end)
            if other:
                # «Regards, Ann Lee Thanks»: what stands before the other word may be a name.
                end = start + len(text[start : other.start()].rstrip())
            if " " in text[start:end] or (end > start and pattern is _TITLED):
                yield start, end


def _chinese(text: str) -> Iterator[tuple[int, int]]:
    for match in _CUE.finditer(text):
        found = _forward(text, match.end(), strong=True)
        if found:
            yield found
    for match in _BEFORE.finditer(text):
        # «由于使用»: 于 is a surname, but not behind a preposition.
        if len(match[0]) == 1 and text[match.end()] in WORDLIKE:
            continue
        found = _forward(text, match.end(), strong=False)
        if found:
            yield found
    for match in _AFTER.finditer(text):
        found = _backward(text, match.start(), titled=match["title"] is not None)
        if found:
            yield found


def _forward(text: str, at: int, *, strong: bool) -> tuple[int, int] | None:
    """The name that begins at `at`; without a strong cue it must be typical and end at an edge."""
    best, best_score = None, 3 if strong else 4
    for length in (2, 3, 4):
        score = _score(text[at : at + length], length)
        if score is None:
            continue
        edge = _EDGE.match(text, at + length) is not None
        if not edge and (not strong or length == 2):
            continue
        score += 2 if edge else 0
        if score >= best_score:
            best, best_score = (at, at + length), score
    return best


def _backward(text: str, end: int, *, titled: bool) -> tuple[int, int] | None:
    """The best name that ends at `end`."""
    best, best_score = None, 2 if titled else 3
    for length in (2, 3, 4):
        at = end - length
        score = _score(text[max(0, at) : end], length)
        if at < 0 or score is None:
            continue
        # What stands before must not be the rest of a word, unless a title follows.
        if not titled and at > 0 and re.match(r"[一-龥]", text[at - 1]) and not _opens(text, at):
            continue
        score += 1 if length == 3 and not titled else 0
        # «请和李明先生»: 和 is a surname, and far more often a word.
        score -= 2 if length == 3 and text[at] in WORDLIKE else 0
        if score >= best_score:
            best, best_score = (at, end), score
    return best


def _opens(text: str, at: int) -> bool:
    return (
        re.search(
            rf"(?:{_CUES}|{_WEAK}|昨天|今天|明天|早上|上午|下午|中午|晚上|刚才|后来|当时|但|而|[的是为，])\Z",
            text[max(0, at - 6) : at],
        )
        is not None
    )


def _score(name: str, length: int) -> int | None:
    """How much `name` looks like one, from 1; None: it cannot be one."""
    if len(name) != length or not re.fullmatch(r"[一-龥]+", name):
        return None
    double = length > 2 and name[:2] in DOUBLE
    given = name[2:] if double else name[1:]
    if length == 4 and not double:
        return None
    if NEVER.intersection(given) or name[:2] in WORDS or (name[-2:] in WORDS and length > 3):
        return None
    if not double and name[0] not in COMMON and name[0] not in RARE:
        return None
    score = 3 if double else 2 if name[0] in COMMON else 1
    return score + sum(character in GIVEN for character in given)
